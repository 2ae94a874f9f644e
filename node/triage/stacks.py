"""Volumes that share a series: phases, echoes, b-values, a localizer beside the slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from node.domain.study import Instance

#: Directions are the same to this many digits (see `domain.geometry`), echo times to tenths of a millisecond.
_COSINE_DIGITS = 2
_ECHO_DIGITS = 1

#: What keeps slices apart, each with what a reader calls it; in this order it is told.
_APART: tuple[tuple[str, Callable[[Instance], object]], ...] = (
    ("temporal position", lambda image: image.temporal_position),
    ("echo time", lambda image: None if image.echo_time_ms is None else round(image.echo_time_ms, _ECHO_DIGITS)),
    ("b-value", lambda image: image.diffusion_b_value),
    ("image type", lambda image: image.image_type),
    ("stack", lambda image: image.frame.stack_id if image.frame else ""),
    ("orientation", lambda image: _rounded(image.plane.orientation) if image.plane else None),
    ("frame of reference", lambda image: image.frame_of_reference_uid),
    ("image size", lambda image: (image.pixels.rows, image.pixels.columns) if image.pixels else None),
    ("object", lambda image: image.sop_instance_uid if image.frame else ""),
)
#: Tried beside the others where those leave slices that lie at one place: numbers of one volume may differ.
_BY_ACQUISITION: tuple[str, Callable[[Instance], object]] = ("acquisition", lambda image: image.acquisition_number)


def ways_apart(images: Sequence[Instance]) -> Iterable[dict[str, list[Instance]]]:
    """Yield each way in which `images` are several stacks: what a reader calls a stack → its slices.

    A name says only what differs in this series: "temporal position 2, echo time 20".
    """
    for apart in (_APART, (*_APART, _BY_ACQUISITION)):
        differing = [(name, said) for name, said in apart if len({said(image) for image in images}) > 1]
        stacks: dict[tuple[object, ...], list[Instance]] = {}
        for image in images:
            stacks.setdefault(tuple(said(image) for _, said in differing), []).append(image)
        if len(stacks) > 1:
            names = [name for name, _ in differing]
            yield {
                ", ".join(f"{name} {_shown(value)}" for name, value in zip(names, key, strict=True)): members
                for key, members in stacks.items()
            }


def what_differs(names: Iterable[str]) -> str:
    """What `names` of stacks are told apart by: "temporal position", "temporal position and echo time"."""
    found = [name for name, _ in (*_APART, _BY_ACQUISITION) if any(f"{name} " in each for each in names)]
    return " and ".join(found)


def reaches_beyond(images: Iterable[Instance], stack: Sequence[Instance]) -> bool:
    """Whether slices parallel to those of `stack` lie farther out than it does: then it may be a piece of a volume."""
    planes = [image.plane for image in stack if image.plane]
    if not planes:
        return True
    row, column = np.array(planes[0].orientation[:3]), np.array(planes[0].orientation[3:])
    normal = np.cross(row, column)
    within = sorted(float(np.array(plane.position) @ normal) for plane in planes)
    margin_mm = (within[-1] - within[0]) / max(1, len(within) - 1) / 2
    others = (
        float(np.array(image.plane.position) @ normal)
        for image in images
        if image.plane
        and image.frame_of_reference_uid == stack[0].frame_of_reference_uid
        and _rounded(image.plane.orientation) == _rounded(planes[0].orientation)
    )
    return any(not within[0] - margin_mm <= other <= within[-1] + margin_mm for other in others)


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    # Adding zero makes one of minus zero.
    return tuple(round(value, _COSINE_DIGITS) + 0.0 for value in values)


def _shown(value: object) -> str:
    if value is None or value in ("", ()):
        return "not given"
    if isinstance(value, tuple):
        return "\\".join(f"{part:g}" if isinstance(part, float) else str(part) for part in value)
    return f"{value:g}" if isinstance(value, int | float) else str(value)
