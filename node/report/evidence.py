"""What all outputs of one outcome share, as one frozen value, and the identifiers that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from node.domain.change import Change
from node.domain.finding import MILLILITRE, VOLUME, Finding
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard
from node.domain.uid import derived_uid
from node.domain.work import OutcomeState
from node.errors import Failed
from node.imaging.mask import Tally, tally
from node.report.boxes import check_boxes, frames_of_boxes
from node.report.prior_image import PriorImage

#: A slice may lie this far from where the grid has it: positions are written with few digits.
_POSITION_TOLERANCE_MM = 0.2
#: A measured volume may differ from the mask's own by this share.
_VOLUME_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class SourceSlice:
    """Where one slice of the mask comes from."""

    header: Dataset
    #: Frame of a multi-frame image, 1 is the first; `None` where the image has one frame.
    frame_number: int | None
    #: The file with its pixels, where it is known.
    path: Path | None = None

    @property
    def position(self) -> tuple[float, float, float] | None:
        """Where the centre of its first pixel lies, LPS mm; `None` where the image does not say."""
        place = self.header
        if self.frame_number is not None and "PerFrameFunctionalGroupsSequence" in place:
            place = place.PerFrameFunctionalGroupsSequence[self.frame_number - 1].PlanePositionSequence[0]
        given = place.get("ImagePositionPatient")
        return (float(given[0]), float(given[1]), float(given[2])) if given else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """A document that was sent of the same study by the same model, and that a new one replaces."""

    #: KIND of the output, and the profile in which it was written: another profile is another destination's.
    kind: str
    profile: str = "standard"
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """One outcome of one model on one series, ready to be written down.

    mask: (slice, row, column) uint8, 0 is background, n is segment n of the card; its slices are in the
    order of `sources` and lie on the same pixels. saliency: the same shape, float32, 0–1. A model that only
    classifies leaves neither; nor does one that did not run, whose `state` and `reason` say why.

    Raises (at construction):
        Failed: mask, grid, sources and findings do not belong together, or the mask is empty.
    """

    #: Headers in mask order, from `report.sources.normalise`; of a multi-frame image one, with its frames' places.
    sources: tuple[Dataset, ...]
    #: With multi-frame sources: (index into `sources`, frame number, 0 of a single image) of each slice; else empty.
    frames: tuple[tuple[int, int], ...] = ()
    #: The file of each of `sources`, for what draws their pixels; empty where none is to be drawn.
    paths: tuple[Path, ...] = ()
    #: `None` where there is no mask, or one on images that do not say where they lie.
    grid: Grid | None = None
    mask: NDArray[np.uint8] | None = None
    saliency: NDArray[np.float32] | None = None
    findings: tuple[Finding, ...] = ()
    #: What has changed since priors, and the images of theirs that show it.
    changes: tuple[Change, ...] = ()
    prior_images: tuple[PriorImage, ...] = ()
    #: Sentences on how it was computed, where that was not the plain way.
    notes: tuple[str, ...] = ()
    card: ModelCard
    #: SHA-256 over the model's files.
    model_digest: str
    #: SHA-256 over the card.
    card_digest: str
    #: SHA-256 over the contents of the input instances.
    content_digest: str
    #: 1 for the first run; `force` adds one, `retry` does not.
    run_number: int
    revision: int
    #: When the model was through, as stored; all dates and times of the outputs come from it. Aware; its
    #: zone is the one in which they are written where the sources name none.
    finished_at: datetime
    #: How a destination wants its outputs.
    profile: str = "standard"
    #: What became of the model; anything but RESULT is told by a not-performed report alone.
    state: OutcomeState = OutcomeState.RESULT
    reason: str = ""
    #: Zone of the source's clocks, as configured, where its objects name no offset.
    zone: tzinfo | None = None
    #: The documents that these outputs replace, as far as they were sent.
    predecessors: tuple[Predecessor, ...] = ()
    #: Keyword → value of the archive, where it files the study otherwise than the sources say, and who corrected.
    corrections: Mapping[str, str] = field(default_factory=dict)
    corrected_by: str = ""
    #: For outputs of SCOPE "study": the evidence of every model on it, this one's among them.
    together: tuple[Evidence, ...] = ()
    #: The mask's voxels, counted at construction where they are not counted yet.
    tally: Tally | None = None

    def __post_init__(self) -> None:
        if self.finished_at.utcoffset() is None:
            raise ValueError("finish time must be aware")
        if self.mask is not None:
            if self.mask.dtype != np.uint8:
                raise ValueError(f"mask must be uint8, not {self.mask.dtype}")
            object.__setattr__(self, "tally", tally(self.mask, self.tally))
            _check_mask(self, self.mask)
        for finding in self.findings:
            _check_finding(self, finding)
        check_boxes(self.findings, self.sources)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The mask.

        Raises:
            Failed: the model left none.
        """
        if self.mask is None:
            raise Failed(f"{self.card.name} left no mask")
        return self.mask

    @property
    def lattice(self) -> Grid:
        """The grid of the mask.

        Raises:
            Failed: the model left none.
        """
        if self.grid is None:
            raise Failed(f"{self.card.name} left no grid")
        return self.grid

    @property
    def counts(self) -> NDArray[np.int64]:
        """Voxels of the mask by (slice, label).

        Raises:
            Failed: the model left none.
        """
        if self.tally is None:
            raise Failed(f"{self.card.name} left no mask")
        return self.tally.counts

    def largest_slice(self, segment_number: int) -> int:
        """Index of the slice with most pixels of a segment; the first of several."""
        return int(self.counts[:, segment_number].argmax())

    @property
    def source(self) -> Dataset:
        """The header that speaks for patient, study and equipment."""
        return self.sources[0]

    @property
    def slices(self) -> tuple[SourceSlice, ...]:
        """The image, and frame, of each slice of the mask; without mask and saliency each frame that bears a box."""
        paths = self.paths or (None,) * len(self.sources)
        places: Sequence[tuple[int, int]] = self.frames
        if not places:
            boxed = frames_of_boxes(self.findings) if self.mask is None and self.saliency is None else {}
            uids = [str(header.SOPInstanceUID) for header in self.sources] if boxed else [""] * len(self.sources)
            places = [(index, number) for index, uid in enumerate(uids) for number in boxed.get(uid, (0,))]
        return tuple(SourceSlice(self.sources[index], number or None, paths[index]) for index, number in places)

    @property
    def study_instance_uid(self) -> str:
        """The study that was read, and to which the outputs belong."""
        return str(self.source.StudyInstanceUID)

    @property
    def source_series_instance_uid(self) -> str:
        """The series that was read."""
        return str(self.source.SeriesInstanceUID)

    def uid(self, kind: str, role: str) -> str:
        """The UID that an output of `kind` has in a `role`: "instance", "series" …; the same work, the same UID."""
        if self.together:
            role = f"{role} of {' '.join(sorted(each.uid(kind, 'part') for each in self.together))}"
        if self.corrections:
            role = f"{role} as {sorted(self.corrections.items())}"
        return result_uid(
            study_instance_uid=self.study_instance_uid,
            content_digest=self.content_digest,
            model_digest=self.model_digest,
            card_digest=self.card_digest,
            kind=kind,
            profile=self.profile,
            series_instance_uid=self.source_series_instance_uid,
            run_number=self.run_number,
            role=role,
        )

    def tracking_uid(self, segment_number: int) -> str:
        """The tracking UID that segment and measurement groups share (PS3.16 TID 1411)."""
        given = (finding.tracking_uid for finding in self._of_whole(segment_number))
        return next((uid for uid in given if uid), self.uid("tracking", f"segment {segment_number}"))

    def tracking_identifier(self, segment_number: int) -> str:
        """The readable name beside the tracking UID (0062,0020)."""
        given = (finding.tracking_identifier for finding in self._of_whole(segment_number))
        label = next(segment.label for segment in self.card.segments if segment.number == segment_number)
        return next((text for text in given if text), f"{label} {segment_number}")

    def _of_whole(self, segment_number: int) -> list[Finding]:
        """The findings of a segment, without those of its lesions, which are tracked each by itself."""
        return [each for each in self.findings if each.segment_number == segment_number and not each.lesion_number]

    @property
    def device_uid(self) -> str:
        """The UID of the observer: this model with this card, in every study the same (PS3.16 TID 1004)."""
        return derived_uid("device observer", self.model_digest, self.card_digest)


def result_uid(
    *,
    study_instance_uid: str,
    content_digest: str,
    model_digest: str,
    card_digest: str,
    kind: str,
    profile: str,
    series_instance_uid: str,
    run_number: int,
    role: str = "instance",
) -> str:
    """The UID of a result, known before it is built."""
    return derived_uid(
        role,
        study_instance_uid,
        content_digest,
        model_digest,
        card_digest,
        kind,
        profile,
        series_instance_uid,
        run_number,
    )


def _check_mask(evidence: Evidence, mask: NDArray[np.uint8]) -> None:
    slices, grid, shape = evidence.slices, evidence.grid, mask.shape
    expected = (len(slices), int(evidence.source.Rows), int(evidence.source.Columns))
    if shape != expected or (grid is not None and shape != grid.shape):
        raise Failed(f"mask {shape}, grid {grid.shape if grid else 'none'} and sources {expected} differ in shape")
    if grid is not None:
        _check_places(slices, grid)
    found = np.flatnonzero(evidence.counts.any(axis=0))
    if not found[-1]:
        raise Failed("the mask is empty: nothing was segmented")
    if found[-1] > max(segment.number for segment in evidence.card.segments):
        raise Failed(f"the mask has a value {found[-1]} that the card declares no segment for")


def _check_places(slices: Sequence[SourceSlice], grid: Grid) -> None:
    affine = grid.matrix
    for index, each in enumerate(slices):
        place, position = affine[:3, 3] + index * affine[:3, 0], each.position
        if position is None or np.abs(place - np.array(position)).max() > _POSITION_TOLERANCE_MM:
            raise Failed(f"slice {index + 1} of the mask does not lie where {each.header.SOPInstanceUID} does")


def _check_finding(evidence: Evidence, finding: Finding) -> None:
    """A finding with a segment must show it, and its volume must be that segment's, or of a lesion at most that."""
    if finding.segment_number is None:
        return
    counts = evidence.counts
    voxels = int(counts[:, finding.segment_number].sum()) if finding.segment_number < counts.shape[1] else 0
    if not voxels:
        raise Failed(f"segment {finding.segment_number} of a finding is empty")
    for measurement in finding.measurements:
        is_volume = measurement.quantity == VOLUME and measurement.unit == MILLILITRE
        volume_ml = voxels * evidence.lattice.voxel_volume_ml if is_volume else 0.0
        difference_ml = measurement.value - volume_ml
        if (
            is_volume
            and (difference_ml if finding.lesion_number else abs(difference_ml)) > _VOLUME_TOLERANCE * volume_ml
        ):
            raise Failed(f"measured {measurement.value:.3f} mL, but the mask holds {volume_ml:.3f} mL")
