"""Numbers measured on a mask, in source geometry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from node.domain.finding import MILLILITRE, VOLUME, Finding, Measurement
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard
from node.errors import Failed
from node.imaging.mask import segment_numbers


def volume_ml(labels: NDArray[np.uint8], grid: Grid, segment_number: int) -> float:
    """Volume of one segment: voxels of (slice, row, column) `labels` that bear its number, times a voxel's."""
    return int(np.count_nonzero(labels == segment_number)) * grid.voxel_volume_ml


def findings(card: ModelCard, labels: NDArray[np.uint8], grid: Grid) -> tuple[Finding, ...]:
    """Return one finding a segment that the mask shows, with the volumes that the card asks for.

    Raises:
        Failed: a volume is outside what the card holds plausible: the mask is wrong, whatever it shows.
    """
    measured: dict[int, Measurement] = {}
    for wanted in card.volumes:
        value = volume_ml(labels, grid, wanted.segment_number)
        if wanted.plausible_ml and not wanted.plausible_ml[0] <= value <= wanted.plausible_ml[1]:
            label = next(segment.label for segment in card.segments if segment.number == wanted.segment_number)
            low, high = wanted.plausible_ml
            raise Failed(f"{label} volume of {value:.0f} mL is not plausible ({low:.0f} to {high:.0f} mL)")
        measured[wanted.segment_number] = Measurement(quantity=VOLUME, value=value, unit=MILLILITRE)
    shown = segment_numbers(labels)
    return tuple(
        Finding(
            code=segment.type,
            segment_number=segment.number,
            measurements=(measured[segment.number],) if segment.number in measured else (),
        )
        for segment in card.segments
        if segment.number in shown
    )
