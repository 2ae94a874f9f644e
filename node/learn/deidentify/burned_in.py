"""Images that may tell of a person in their pixels: by what their header says they are, and by what is seen in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import iter_pixels

from node.imaging.pixel_data import DECODING_FAULTS
from node.learn.deidentify.lettering import text_boxes

#: Storage SOP Classes (PS3.4 Table B.5-1) whose pixels are screens, or are written on by the machine.
_RISKY = {
    "1.2.840.10008.5.1.4.1.1.7": "a secondary capture",
    "1.2.840.10008.5.1.4.1.1.6": "ultrasound",
    "1.2.840.10008.5.1.4.1.1.3": "ultrasound",
    "1.2.840.10008.5.1.4.1.1.12": "angiography or fluoroscopy",
    "1.2.840.10008.5.1.4.1.1.77": "visible light",
}
#: Words of Image Type (0008,0008) that say so, too.
_SCREENS = ("SCREEN", "CAPTURE", "REPORT", "SAVE")
#: So many images of a series are looked at, evenly spread.
_LOOKED_AT = 9
#: Slices of a volume are noisy: text that a machine has burned in stands in most of them.
_SHARE_OF_VOLUME = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flagged:
    """A series that may have text burned in, and what of it a person should look at."""

    #: In words, without anything of the patient.
    reasons: tuple[str, ...]
    #: (row, column) 0 to 1.
    pictures: tuple[NDArray[np.float32], ...]
    #: (top, left, bottom, right) of what looks like text, for each picture.
    boxes: tuple[tuple[tuple[int, int, int, int], ...], ...]


def flagged(images: Sequence[Dataset]) -> Flagged | None:
    """Say why the images of one series may have text burned in; `None` where nothing speaks for it."""
    reasons = list(dict.fromkeys(reason for each in images for reason in _told(each)))
    step = max(1, -(-len(images) // _LOOKED_AT))
    pictures = [picture for each in images[::step] if (picture := _picture(each)) is not None]
    boxes = [tuple(text_boxes(picture)) for picture in pictures]
    seen = sum(bool(each) for each in boxes)
    is_volume = len(images) > _LOOKED_AT and all("ImagePositionPatient" in each for each in images)
    if seen and (not is_volume or seen >= _SHARE_OF_VOLUME * len(pictures)):
        reasons.append(f"what looks like text, in {seen} of {len(pictures)} images looked at")
    if len(pictures) < len(images[::step]):
        reasons.append("images that cannot be looked at")
    return Flagged(reasons=tuple(reasons), pictures=tuple(pictures), boxes=tuple(boxes)) if reasons else None


def _told(image: Dataset) -> list[str]:
    """What the header says."""
    said = str(image.get("BurnedInAnnotation", "") or "").strip().upper()
    found = ["its header says so"] if said == "YES" else []
    sop_class_uid = str(image.get("SOPClassUID", ""))
    kind = next(
        (name for uid, name in _RISKY.items() if sop_class_uid == uid or sop_class_uid.startswith(f"{uid}.")), ""
    )
    if kind:
        found.append(kind)
    if any(word in str(each).upper() for each in image.get("ImageType") or () for word in _SCREENS):
        found.append("a copy of a screen")
    if image.get("ConversionType"):
        found.append("digitised or captured")
    if any(tag.group & 0xFF01 == 0x6000 and tag.element == 0x0102 and image[tag].value for tag in image.keys()):  # noqa: SIM118
        found.append("an overlay in the pixels")
    return found


def _picture(image: Dataset) -> NDArray[np.float32] | None:
    """The first frame in grey, 0 to 1; `None` where it cannot be decoded."""
    try:
        first = next(iter(iter_pixels(image)), None)
    except DECODING_FAULTS:
        return None
    if first is None:
        return None
    frame = np.asarray(first).astype(np.float32)
    if frame.ndim == 3:
        frame = frame.mean(axis=-1)
    low, high = float(frame.min(initial=np.inf)), float(frame.max(initial=-np.inf))
    return (frame - low) / (high - low) if high > low else np.zeros_like(frame)
