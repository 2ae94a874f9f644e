"""The numbers that a card asks for, of one region of a mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from node.domain.finding import Measurement
from node.domain.measures import DISTANCES, INTENSITIES, TERMS, Measure, Quantity, Repeatability, intensity_term
from node.domain.model_card import ModelCard
from node.errors import Failed
from node.imaging.measure.axes import Axes, axes, axes_in_plane
from node.imaging.measure.distance import centroid_distance_mm, surface_distance_mm
from node.imaging.measure.intensity import intensity
from node.imaging.measure.region import Region
from node.imaging.volume import Values


def written(
    measure: Measure, value: float, label: str, repeats: Repeatability | None = None, **term: object
) -> Measurement:
    """One value as it is written down; `repeats` is how well the model measures it.

    Raises:
        Failed: it is outside what the card holds plausible.
    """
    name = measure.quantity.value.replace("_", " ")
    found = Measurement(
        **{  # type: ignore[arg-type]
            "quantity": TERMS[measure.quantity].code,
            "unit": TERMS[measure.quantity].unit,
            "derivation": TERMS[measure.quantity].derivation,
            "method": TERMS[measure.quantity].method,
            **term,
        },
        value=value,
        repeats_within=None if repeats is None else repeats.of(value),
    )
    if measure.plausible and not measure.plausible[0] <= value <= measure.plausible[1]:
        low, high = measure.plausible
        unit = f" {found.unit_name}".rstrip()
        raise Failed(f"{label} {name} of {value:.4g}{unit} is not plausible ({low:g} to {high:g}{unit})")
    return found


@dataclass(slots=True)
class Numbers:
    """Measures regions of one mask; what it cannot measure it says in `notes`."""

    card: ModelCard
    segments: Mapping[int, Region]
    #: (slice, row, column) rescaled values that the mask lies on, if they are there.
    array: Values | None
    modality: str
    notes: list[str] = field(default_factory=list)

    def of(self, region: Region, asked: Sequence[Measure], *, lesion_count: int | None = None) -> list[Measurement]:
        """Measure a region; each pair of axes once.

        Raises:
            Failed: a value is outside what the card holds plausible.
        """
        in_space, in_plane = cache(lambda: axes(region)), cache(lambda: axes_in_plane(region))
        found = (self._one(region, measure, in_space, in_plane, lesion_count) for measure in asked)
        return [each for each in found if each is not None]

    def _one(
        self,
        region: Region,
        measure: Measure,
        in_space: Callable[[], Axes],
        in_plane: Callable[[], Axes],
        lesion_count: int | None,
    ) -> Measurement | None:
        label = self._label(measure.segment_number)
        if measure.quantity in INTENSITIES:
            return self._intensity(region, measure, label)
        if measure.quantity in DISTANCES:
            return self._distance(region, measure, label)
        match measure.quantity:
            case Quantity.VOLUME:
                value = region.volume_ml
            case Quantity.DIAMETER:
                value = in_space().long_mm
            case Quantity.PERPENDICULAR:
                value = in_space().short_mm
            case Quantity.LONG_AXIS:
                value = in_plane().long_mm
            case Quantity.SHORT_AXIS:
                value = in_plane().short_mm
            case Quantity.LESION_COUNT if lesion_count is not None:
                value = float(lesion_count)
            case Quantity.AREA:
                steps = region.grid.spacing_mm
                value = float(region.by_slice.max()) * steps[1] * steps[2]
            case _:
                return None
        return written(measure, value, label, self._repeats(measure))

    def _intensity(self, region: Region, measure: Measure, label: str) -> Measurement | None:
        term = intensity_term(measure.quantity, self.modality)
        if term is None or self.array is None:
            why = (
                "the values of the volume are not at hand" if term else f"in {self.modality or 'it'} they have no unit"
            )
            self.notes.append(f"The intensities of {label} were not measured: {why}.")
            return None
        value = intensity(region, self.array, measure.quantity)
        return written(measure, value, label, self._repeats(measure), quantity=term.code, unit=term.unit)

    def _distance(self, region: Region, measure: Measure, label: str) -> Measurement | None:
        assert measure.to_segment is not None
        other = self.segments.get(measure.to_segment)
        toward = next(each for each in self.card.segments if each.number == measure.to_segment)
        if other is None:
            self.notes.append(
                f"The distance of {label} to {toward.label} was not measured: there is no {toward.label}."
            )
            return None
        distance = surface_distance_mm if measure.quantity is Quantity.DISTANCE else centroid_distance_mm
        found, repeats = distance(region, other), self._repeats(measure)
        return written(measure, found, label, repeats, toward=toward.site or toward.type)

    def _repeats(self, measure: Measure) -> Repeatability | None:
        if measure.repeatability is not None:
            return measure.repeatability
        return self.card.repeats(measure.quantity, measure.segment_number, per_lesion=measure.per_lesion)

    def _label(self, number: int) -> str:
        return next(each.label for each in self.card.segments if each.number == number)
