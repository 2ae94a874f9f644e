"""Numbers measured on a mask, in source geometry: one finding a segment, and one a lesion where the card asks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from node.domain.finding import MILLILITRE, VOLUME, Finding, Measurement, Segment
from node.domain.geometry import Grid
from node.domain.measures import LESION_COUNT, NO_UNITS, Lesions, Measure, Quantity
from node.domain.model_card import Intensity, ModelCard
from node.domain.uid import derived_uid
from node.errors import Failed
from node.imaging.mask import tally
from node.imaging.measure.flat import measured_on_images
from node.imaging.measure.numbers import Numbers, written
from node.imaging.measure.region import Region, lesions, regions
from node.imaging.measure.result import Measured
from node.imaging.measure.side import side_of
from node.imaging.volume import Volume

__all__ = ["Measured", "findings", "measured", "measured_on_images", "volume_ml"]

#: Segments that one note names.
_MOST_NAMED = 10


def volume_ml(labels: NDArray[np.uint8], grid: Grid, segment_number: int) -> float:
    """Volume of one segment: voxels of (slice, row, column) `labels` that bear its number, times a voxel's."""
    return int(np.count_nonzero(labels == segment_number)) * grid.voxel_volume_ml


def findings(
    card: ModelCard, labels: NDArray[np.uint8], grid: Grid, volume: Volume | None = None, *, modality: str = ""
) -> tuple[Finding, ...]:
    """Return the findings of `measured` alone.

    Raises:
        Failed: as `measured`.
    """
    return measured(card, labels, grid, volume, modality=modality).findings


def measured(
    card: ModelCard, labels: NDArray[np.uint8], grid: Grid, volume: Volume | None = None, *, modality: str = ""
) -> Measured:
    """Return one finding a segment that the mask shows, one a lesion where a measure is asked of each, and notes.

    labels: (slice, row, column). `volume` is what the mask lies on: intensities, key images and some midlines need it.
    A segment with lesions (`Lesions`) of which none is large enough is a finding that is absent.

    Raises:
        Failed: a value is outside what the card holds plausible: the mask is wrong, whatever it shows.
    """
    shown = regions(labels, grid, tally(labels))
    array = volume.array if volume is not None and card.intensity is Intensity.RESCALED else None
    work = _Work(card, shown, volume, Numbers(card=card, segments=shown, array=array, modality=modality))
    found = [each for segment in card.segments for each in work.of_segment(segment)]
    numbered = {each.segment_number for each in found if each.measurements}
    cut = [each.label for each in card.segments if each.number in numbered and shown[each.number].is_cut]
    if cut:
        named = ", ".join(cut[:_MOST_NAMED]) + (f" and {len(cut) - _MOST_NAMED} more" if cut[_MOST_NAMED:] else "")
        work.numbers.notes.append(f"Reaching the edge of the images, and perhaps beyond: {named}.")
    return Measured(findings=tuple(found), notes=tuple(dict.fromkeys(work.numbers.notes)))


@dataclass(frozen=True, slots=True)
class _Work:
    card: ModelCard
    shown: dict[int, Region]
    volume: Volume | None
    numbers: Numbers

    def of_segment(self, segment: Segment) -> list[Finding]:
        """The finding of a segment, then those of its lesions, the largest first."""
        region = self.shown.get(segment.number)
        volumes = self._volumes(segment, region)
        counting = next((each for each in self.card.lesions if each.segment_number == segment.number), None)
        asked = [each for each in self.card.measures if each.segment_number == segment.number]
        if region is None:
            for measure in asked:
                if measure.quantity is Quantity.VOLUME and not measure.per_lesion:
                    written(measure, 0.0, segment.label)  # a segment that is never absent says so by its range
            return [] if counting is None else [_absent(segment)]
        parts = [] if counting is None else lesions(region, counting.least_ml)
        whole = [each for each in asked if not each.per_lesion]
        finding = self._finding(segment, region, [*volumes, *self.numbers.of(region, whole, lesion_count=len(parts))])
        if counting is not None:
            finding = replace(finding, present=bool(parts))
        return [finding, *self._of_lesions(segment, counting, parts, asked)]

    def _of_lesions(
        self, segment: Segment, counting: Lesions | None, parts: list[Region], asked: list[Measure]
    ) -> list[Finding]:
        of_each = [each for each in asked if each.per_lesion]
        if counting is None or not of_each:
            return []
        found = []
        for number, part in enumerate(parts[: counting.most], start=1):
            finding = self._finding(segment, part, self.numbers.of(part, of_each))
            found.append(
                replace(
                    finding,
                    present=True,
                    lesion_number=number,
                    tracking_identifier=f"{segment.label} lesion {number}",
                    tracking_uid=self._tracking_uid(segment, part),
                )
            )
        return found

    def _finding(self, segment: Segment, region: Region, numbers: list[Measurement]) -> Finding:
        sided = next((each for each in self.card.sides if each.segment_number == segment.number), None)
        array = None if self.volume is None else self.volume.array
        return Finding(
            code=segment.type,
            segment_number=segment.number,
            measurements=tuple(numbers),
            laterality=None if sided is None else side_of(region, sided, self.shown, array),
            key_images=() if self.volume is None else (self.volume.sop_instance_uids[region.largest_slice],),
        )

    def _volumes(self, segment: Segment, region: Region | None) -> list[Measurement]:
        """The volumes of the card's own table; a segment that is not there has none at all."""
        value = 0.0 if region is None else region.volume_ml
        found = []
        for wanted in self.card.volumes:
            if wanted.segment_number != segment.number:
                continue
            if wanted.plausible_ml and not wanted.plausible_ml[0] <= value <= wanted.plausible_ml[1]:
                low, high = wanted.plausible_ml
                raise Failed(f"{segment.label} volume of {value:.0f} mL is not plausible ({low:.0f} to {high:.0f} mL)")
            repeats = self.card.repeats(Quantity.VOLUME, segment.number, per_lesion=False)
            within = None if repeats is None else repeats.of(value)
            found.append(Measurement(quantity=VOLUME, value=value, unit=MILLILITRE, repeats_within=within))
        return found

    def _tracking_uid(self, segment: Segment, lesion: Region) -> str:
        """The same lesion of the same images by the same model has the same; no two lesions share one."""
        images = "" if self.volume is None else "\\".join(self.volume.sop_instance_uids)
        return derived_uid("lesion", self.card.name, images, segment.number, lesion.first, lesion.voxels)


def _absent(segment: Segment) -> Finding:
    """Nothing at all was outlined where lesions were looked for."""
    none = Measurement(quantity=LESION_COUNT, value=0.0, unit=NO_UNITS)
    return Finding(code=segment.type, present=False, measurements=(none,), tracking_identifier=segment.label)
