"""Frames of a multi-frame image as images of their own: what holds of a slice then holds of a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from node.domain.study import Frame, Instance, Pixels, Plane, Stack


def each_slice(images: Iterable[Instance]) -> list[Instance]:
    """Return `images` with every image whose frames are placed replaced by its frames, in order of their number."""
    found: list[Instance] = []
    for image in images:
        if image.pixels is None or image.frames is None or not image.frames.stacks:
            found.append(image)
            continue
        frames = [each for stack in image.frames.stacks for each in _frames(image, image.pixels, stack)]
        found.extend(sorted(frames, key=lambda each: each.frame.number if each.frame else 0))
    return found


def _frames(image: Instance, pixels: Pixels, stack: Stack) -> Iterator[Instance]:
    rescales = stack.rescales * len(stack.numbers) if len(stack.rescales) == 1 else stack.rescales
    shared = replace(
        image,
        frames=None,
        slice_thickness_mm=stack.slice_thickness_mm,
        temporal_position=stack.temporal_position,
        echo_time_ms=stack.echo_time_ms,
        diffusion_b_value=stack.diffusion_b_value,
        image_type=stack.image_type or image.image_type,
    )
    for number, position, (slope, intercept) in zip(stack.numbers, stack.positions, rescales, strict=True):
        yield replace(
            shared,
            frame=Frame(number=number, stack_id=stack.stack_id),
            plane=Plane(position=position, orientation=stack.orientation, spacing=stack.spacing),
            pixels=replace(pixels, number_of_frames=1, rescale_slope=slope, rescale_intercept=intercept),
        )
