"""What is drawn over an image: a map in red, contours, boxes; as PNG, no larger than a reader needs."""

from __future__ import annotations

from io import BytesIO
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from node.imaging.explain.picture import write_overlay
from node.learn.report.looking import Seen

#: Sides of a picture, about: smaller images are shown larger, larger ones smaller.
_SIDE = 256
#: Sky blue for what is true, orange for the answer: told apart by most who see colours otherwise.
TRUTH, ANSWER = (86, 180, 233), (230, 159, 0)
#: Colours that a picture keeps.
_COLOURS = 128
_NEAREST, _SMOOTH = Image.Resampling.NEAREST, Image.Resampling.BILINEAR


def overlay(seen: Seen, weights: NDArray[np.float32] | None = None) -> bytes:
    """The image, with a map in red where there is one."""
    shown = _image(seen)
    if weights is None:
        return _png(shown)
    cover = Image.fromarray(weights).resize((shown.shape[1], shown.shape[0]), _SMOOTH)
    into = BytesIO()
    write_overlay(shown, np.asarray(cover), cast("Any", into))
    return _png(np.asarray(Image.open(into)))


def outlined(seen: Seen) -> bytes:
    """The image with the contours of what is true, and over them those of the answer."""
    shown = _image(seen)
    for labels, colour in ((seen.truth, TRUTH), (seen.answer, ANSWER)):
        if labels is not None:
            large = np.asarray(Image.fromarray(labels).resize((shown.shape[1], shown.shape[0]), _NEAREST))
            shown[_edges(large)] = colour
    return _png(shown)


def framed(seen: Seen) -> bytes:
    """The image with the true boxes, and those that were seen with their scores."""
    shown = _image(seen)
    scale = shown.shape[0] / seen.image.shape[0], shown.shape[1] / seen.image.shape[1]
    picture = Image.fromarray(shown)
    pen = ImageDraw.Draw(picture)
    for boxes, colour in ((seen.true_boxes, TRUTH), (seen.boxes, ANSWER)):
        for each in boxes:
            (top, bottom), (left, right) = each.edges
            corners = (left * scale[1], top * scale[0], right * scale[1] - 1, bottom * scale[0] - 1)
            if corners[2] >= corners[0] and corners[3] >= corners[1]:
                pen.rectangle(corners, outline=colour)
            if boxes is seen.boxes:
                pen.text((corners[0] + 2, corners[1] + 1), f"{each.score:.2f}", fill=colour)
    return _png(np.asarray(picture))


def _image(seen: Seen) -> NDArray[np.uint8]:
    """(row, column, 3) uint8, as large as it is shown, the darkest percent black and the lightest white."""
    values = np.nan_to_num(np.asarray(seen.image, np.float64))
    low, high = np.percentile(values, (1, 99))
    eight = np.rint(np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)
    rows, columns = eight.shape[0] * seen.aspect, float(eight.shape[1])
    factor = _SIDE / max(rows, columns)
    # A small image in whole steps: a pixel stays a square.
    factor = float(int(factor)) if factor >= 1 and seen.aspect == 1 else factor
    size = max(1, round(columns * factor)), max(1, round(rows * factor))
    picture = Image.fromarray(eight).resize(size, _NEAREST if factor >= 1 else _SMOOTH)
    return np.array(picture.convert("RGB"))


def _edges(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a label ends: within it, beside another."""
    padded = np.pad(labels, 1)
    inner = padded[1:-1, 1:-1]
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    found = np.zeros(labels.shape, np.bool_)
    for each in beside:
        found |= each != inner
    edges: NDArray[np.bool_] = found & (labels > 0)
    return edges


def _png(shown: NDArray[Any]) -> bytes:
    into = BytesIO()
    Image.fromarray(shown).quantize(_COLOURS).save(into, format="PNG", optimize=True)
    return into.getvalue()
