"""From labels on single images, which lie nowhere in space, to findings and a mask on their pixels alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from node.domain.finding import Finding
from node.domain.model_card import ModelCard
from node.errors import Failed
from node.imaging.images import Image
from node.imaging.mask import Mask, tally


def mask_on(images: Sequence[Image], labels: NDArray[np.uint8]) -> Mask:
    """The mask of (image, row, column) `labels`.

    Raises:
        Failed: the images are of several sizes, or the labels are not of them.
    """
    sizes = sorted({image.array.shape[:2] for image in images})
    if len(sizes) != 1:
        raise Failed("a mask on images of several sizes")
    if labels.shape != (len(images), *sizes[0]):
        raise Failed(f"the mask is {labels.shape}, the images {(len(images), *sizes[0])}")
    frames = tuple(image.frame_number for image in images)
    return Mask(labels, None, tuple(image.sop_instance_uid for image in images), frames if any(frames) else ())


def findings(card: ModelCard, mask: Mask) -> tuple[Finding, ...]:
    """Return one finding a segment that the mask shows, on the images where it is largest; all absent where none is."""
    counts = tally(mask.labels).counts
    found = []
    for segment in card.segments:
        sizes = counts[:, segment.number]
        if sizes.any():
            key = mask.sop_instance_uids[int(sizes.argmax())]
            found.append(Finding(code=segment.type, segment_number=segment.number, key_images=(key,)))
    return tuple(found) or tuple(
        Finding(code=segment.type, site=segment.site, present=False, tracking_identifier=segment.label)
        for segment in card.segments
    )
