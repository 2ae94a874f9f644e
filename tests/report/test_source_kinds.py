"""Every kind of source ends in right objects, re-read and in their place, or in a reason; never in a traceback."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    RLELossless,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from node.domain.model_card import Condition, ModelCard
from node.domain.uid import derived_uid
from node.errors import Unsuitable
from node.report.composition import compose, encode
from tests.enhanced import CORONAL, FrameMade, MultiFrame, enhanced_ct, legacy_mr, stack_of, write
from tests.report.gathered import FLAT, VOLUME, Gathered, gather
from tests.report.synthetic import AVAILABLE, SCANS, Scan, mr_series
from tests.report.test_outputs import errors_of

Write = Callable[[Path], list[Path]]
Edit = Callable[[int, Dataset], None]
KINDS = ("measurement_sr", "seg")


@dataclass(frozen=True)
class Source:
    """One kind of source, and the card of the model that is to read it."""

    write: Write
    card: ModelCard = VOLUME


def scanned(scan: Scan) -> Write:
    return lambda folder: mr_series(folder / "series", scan)


def edited(edit: Edit, scan: Scan | None = None) -> Write:
    """A series in which each file is changed after it was written."""

    def make(folder: Path) -> list[Path]:
        paths = mr_series(folder / "series", scan or Scan())
        for number, path in enumerate(paths):
            dataset = dcmread(path)
            edit(number, dataset)
            dataset.save_as(path, enforce_file_format=True)
        return paths

    return make


def both(one: Write, other: Write) -> Write:
    """Two series in one: the second one's images are others, in the same series."""

    def make(folder: Path) -> list[Path]:
        second = other(folder / "second")
        for number, path in enumerate(second):
            dataset = dcmread(path)
            dataset.SOPInstanceUID = derived_uid("second", number)
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.save_as(path, enforce_file_format=True)
        return one(folder / "first") + second

    return make


def framed(made: MultiFrame) -> Write:
    return lambda folder: [write(folder / "a.dcm", made)]


def setting(**values: object) -> Edit:
    def edit(_number: int, dataset: Dataset) -> None:
        for keyword, value in values.items():
            if value is None:
                dataset.pop(keyword, None)
            else:
                setattr(dataset, keyword, value)

    return edit


def shuffled_numbers(number: int, dataset: Dataset) -> None:
    dataset.InstanceNumber = (number * 5) % 7 + 1


def sheared(number: int, dataset: Dataset) -> None:
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y + 0.8 * number, z]


def all_but(missing: int) -> Write:
    return lambda folder: [path for n, path in enumerate(mr_series(folder / "series", Scan())) if n != missing]


def odd_one(**values: object) -> Edit:
    return lambda number, dataset: setting(**values)(number, dataset) if number == 3 else None


def smaller(number: int, dataset: Dataset) -> None:
    if number == 3:
        dataset.Rows, dataset.PixelData = 12, bytes(2 * 12 * dataset.Columns)


def wanting(**condition: object) -> ModelCard:
    return replace(VOLUME, requires=(*VOLUME.requires, Condition(**condition)))  # type: ignore[arg-type]


def localizer(folder: Path) -> list[Path]:
    return edited(setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), Scan(slices=3, orientation=CORONAL))(folder)


NO_LOCALIZER = wanting(field="image_type", none_of=("LOCALIZER",))
FIRST_ECHO = wanting(field="echo_time_ms", at_most=10.0)
FIRST_PHASE = wanting(field="temporal_position", at_most=1)
WITHOUT_DIFFUSION = wanting(field="diffusion_b_value", at_most=50.0)
FIRST_ACQUISITION = wanting(field="acquisition_number", at_most=1)


def phase(number: int, **said: object) -> Write:
    return edited(setting(**{keyword: values[number] for keyword, values in said.items()}))  # type: ignore[index]


def phases(**said: Sequence[object]) -> Write:
    """The same slices twice, told apart by attributes that have two values each."""
    return both(phase(0, **said), phase(1, **said))


def mixed(frames: tuple[FrameMade, ...]) -> tuple[FrameMade, ...]:
    return tuple(random.Random(3).sample(frames, len(frames)))


VOLUMES = {name: Source(scanned(scan)) for name, scan in SCANS.items()} | {
    "instance numbers in disorder": Source(edited(shuffled_numbers)),
    "no instance numbers": Source(edited(setting(InstanceNumber=None))),
    "cyrillic name": Source(scanned(Scan(header={"SpecificCharacterSet": "ISO_IR 144", "PatientName": "Люкceмбypг"}))),
    "enhanced mr": Source(framed(MultiFrame(frames=stack_of(7)))),
    "enhanced mr, frames in disorder": Source(framed(MultiFrame(frames=mixed(stack_of(7))))),
    "enhanced mr, all said in each frame": Source(framed(MultiFrame(frames=stack_of(7), shares=False))),
    "enhanced mr, oblique": Source(
        framed(MultiFrame(frames=stack_of(7, orientation=SCANS["oblique"].orientation), spacing=(0.9, 0.8)))
    ),
    "enhanced mr, compressed": Source(framed(MultiFrame(frames=stack_of(7), syntax=RLELossless))),
    "enhanced ct": Source(framed(enhanced_ct())),
    "enhanced ct, dirty": Source(
        framed(
            enhanced_ct(
                undefined_length=True,
                header=dict.fromkeys(("PatientID", "StudyID", "AccessionNumber", "FrameOfReferenceUID", "StudyTime")),
            )
        )
    ),
    "legacy converted mr": Source(framed(legacy_mr())),
    "enhanced mr, two phases": Source(
        framed(MultiFrame(frames=mixed(stack_of(7, temporal_position=1) + stack_of(7, temporal_position=2)))),
        FIRST_PHASE,
    ),
    "enhanced mr, two b-values": Source(
        framed(MultiFrame(frames=stack_of(7, b_value=1000.0) + stack_of(7, b_value=0.0))), WITHOUT_DIFFUSION
    ),
    "enhanced mr, localizer in the object": Source(
        framed(MultiFrame(frames=(*stack_of(1, orientation=CORONAL), *stack_of(7))))
    ),
    "localizer in the series": Source(both(scanned(Scan()), localizer), NO_LOCALIZER),
    "two echoes": Source(phases(EchoTime=[3.0, 20.0]), FIRST_ECHO),
    "two phases": Source(phases(TemporalPositionIdentifier=[1, 2]), FIRST_PHASE),
    "two acquisitions": Source(phases(AcquisitionNumber=[1, 2]), FIRST_ACQUISITION),
}  # fmt: skip

TWICE = "slice position(s) occur twice"
UNSUITABLE = {
    "gap": (Source(all_but(3)), "a gap of 6.0 mm where slices lie 3.0 mm apart: 1 missing"),
    "gantry tilt": (Source(edited(sheared)), "shifted against each other (gantry tilt)"),
    "single slice": (Source(scanned(Scan(slices=1))), "1 slice(s) with a position: no volume"),
    "mixed sizes": (Source(edited(smaller)), "images of different sizes in one series (12 × 20, 24 × 20)"),
    "mixed orientations": (Source(both(scanned(Scan()), scanned(Scan(slices=2, orientation=CORONAL)))), "2 volumes"),
    "the same slices twice": (Source(both(scanned(Scan()), scanned(Scan()))), TWICE),
    "two phases that nothing chooses": (
        Source(phases(TemporalPositionIdentifier=[1, 2])),
        "nothing says which to read (temporal position 1; temporal position 2)",
    ),
    "two echoes that nothing chooses": (Source(phases(EchoTime=[3.0, 20.0])), "(echo time 20; echo time 3)"),
    "a phase that is a piece of a volume": (
        Source(edited(lambda n, d: setting(TemporalPositionIdentifier=1 if n < 4 else 2)(n, d)), FIRST_PHASE),
        "temporal position is 2, more than 1; images differ in temporal position",
    ),
    "no positions": (Source(edited(setting(ImagePositionPatient=None))), "do not say where they lie in the patient"),
    "one position too few": (Source(edited(odd_one(ImagePositionPatient=None))), "1 of 7 images do not say where"),
    "position that is no number": (Source(edited(odd_one(PixelSpacing=[0, 0]))), "mixed pixel spacings"),
    "several frames of reference": (Source(edited(odd_one(FrameOfReferenceUID="1.2.3"))), "frames of reference"),
    "several patients": (Source(edited(odd_one(PatientID="T-2"))), "different patients in one series"),
    "multi-frame without places": (
        Source(framed(MultiFrame(frames=(*stack_of(6), FrameMade(position=None))))),
        "1 of 7 frames do not say where they lie",
    ),
    "multi-frame with a gap": (Source(framed(MultiFrame(frames=stack_of(7)[:3] + stack_of(7)[4:]))), "1 missing"),
    "multi-frame, two phases that nothing chooses": (
        Source(framed(MultiFrame(frames=stack_of(7, temporal_position=1) + stack_of(7, temporal_position=2)))),
        "2 volumes in one series suit",
    ),
    "multi-frame, phases nobody tells apart": (Source(framed(MultiFrame(frames=stack_of(7) * 2))), TWICE),
    "several multi-frame objects": (
        Source(both(framed(MultiFrame(frames=stack_of(7))), framed(MultiFrame(frames=stack_of(7), number=2)))),
        "2 volumes in one series suit",
    ),
}  # fmt: skip


def radiograph(sop_class: str, modality: str, **changed: object) -> Write:
    """One image without a place, as projection radiography and ultrasound make them."""
    values = {"SOPClassUID": sop_class, "Modality": modality, "ImageOrientationPatient": None} | changed
    values |= {"ImagePositionPatient": None, "SliceThickness": None}
    return edited(_of_class(values), Scan(slices=1))


def _of_class(values: dict[str, object]) -> Edit:
    def edit(number: int, dataset: Dataset) -> None:
        setting(**values)(number, dataset)
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID

    return edit


def clip(frames: int) -> Write:
    """A multi-frame ultrasound clip."""

    def more(number: int, dataset: Dataset) -> None:
        values = {"SOPClassUID": UltrasoundMultiFrameImageStorage, "Modality": "US", "FrameTime": 40}
        gone = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"))
        _of_class(values | gone | {"NumberOfFrames": frames})(number, dataset)
        dataset.PixelData = dataset.PixelData * frames

    return edited(more, Scan(slices=1))


SINGLES = {
    "cr": radiograph(ComputedRadiographyImageStorage, "CR", PixelSpacing=None, ImagerPixelSpacing=[0.2, 0.2]),
    "cr without any spacing": radiograph(ComputedRadiographyImageStorage, "CR", PixelSpacing=None),
    "dx": radiograph(DigitalXRayImageStorageForPresentation, "DX", PatientOrientation=["L", "F"]),
    "mg": radiograph(DigitalMammographyXRayImageStorageForPresentation, "MG", FrameOfReferenceUID=None),
    "us": radiograph(UltrasoundImageStorage, "US", FrameOfReferenceUID=None),
    "us clip": clip(3),
    "ct slice": edited(_of_class({"SOPClassUID": CTImageStorage, "Modality": "CT"}), Scan(slices=1)),
    "ct slice without a frame of reference": edited(
        _of_class({"SOPClassUID": CTImageStorage, "Modality": "CT", "FrameOfReferenceUID": None}), Scan(slices=1)
    ),
    "mr slice with half a place": edited(setting(ImageOrientationPatient=None), Scan(slices=1)),
    "mr slice with a spacing of nothing": edited(setting(PixelSpacing=[0, 0]), Scan(slices=1)),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_a_volume_ends_in_objects_that_lie_where_its_slices_do(name: str, tmp_path: Path) -> None:
    found = gather(tmp_path, VOLUMES[name].write(tmp_path), VOLUMES[name].card)
    written = _written(found, tmp_path)
    if name not in SCANS:  # those are judged where the outputs are
        assert {kind: errors_of(path) for kind, path in written.items()} == {kind: [] for kind in KINDS}
    _assert_in_place(found, dcmread(written["seg"]))
    _assert_same_voxels(found, written["seg"])


@pytest.mark.parametrize("name", ["enhanced mr, two b-values", "legacy converted mr", "us clip", "cr"])
def test_whatever_else_fits_is_written_without_an_error(name: str, tmp_path: Path) -> None:
    source = VOLUMES.get(name) or Source(SINGLES[name], FLAT)
    evidence = gather(tmp_path, source.write(tmp_path), source.card).evidence
    fitting = [kind for kind in AVAILABLE if kind not in KINDS and not AVAILABLE[kind].unfit(evidence)]
    for kind, dataset in compose(evidence, fitting, AVAILABLE, {}).items():
        path = tmp_path / f"{kind}.dcm"
        path.write_bytes(encode(dataset))
        assert (kind, errors_of(path)) == (kind, [])


@pytest.mark.parametrize("name", UNSUITABLE)
def test_what_is_no_volume_is_unsuitable_with_the_reason(name: str, tmp_path: Path) -> None:
    source, reason = UNSUITABLE[name]
    with pytest.raises(Unsuitable) as unsuitable:
        gather(tmp_path, source.write(tmp_path), source.card)
    assert reason.lower() in str(unsuitable.value).lower()


@pytest.mark.parametrize("name", SINGLES)
def test_single_images_are_nothing_for_a_model_of_volumes(name: str, tmp_path: Path) -> None:
    with pytest.raises(Unsuitable):
        gather(tmp_path, SINGLES[name](tmp_path), VOLUME)


@pytest.mark.parametrize("name", SINGLES)
def test_a_mark_on_a_single_image_lies_on_its_pixels(name: str, tmp_path: Path) -> None:
    found = gather(tmp_path, SINGLES[name](tmp_path), FLAT)
    written = _written(found, tmp_path)
    assert {kind: errors_of(path) for kind, path in written.items()} == {kind: [] for kind in KINDS}
    segmentation = dcmread(written["seg"])
    [source] = found.evidence.slices
    assert segmentation.NumberOfFrames == 1
    assert np.array_equal(segmentation.pixel_array, found.evidence.labels[0])
    [item] = segmentation.PerFrameFunctionalGroupsSequence
    reference = item.DerivationImageSequence[0].SourceImageSequence[0]
    assert (reference.ReferencedSOPClassUID, reference.get("ReferencedFrameNumber")) == (
        source.header.SOPClassUID,
        2 if name == "us clip" else None,
    )
    placed = name.startswith("ct")
    assert ("PlanePositionSequence" in item) == ("FrameOfReferenceUID" in segmentation) == placed


@pytest.mark.parametrize("name", ["cr", "us clip", "ct slice"])
def test_a_finding_of_a_single_image_needs_no_mask(name: str, tmp_path: Path) -> None:
    found = gather(tmp_path, SINGLES[name](tmp_path), FLAT, masked=False)
    assert found.evidence.mask is None
    assert AVAILABLE["seg"].unfit(found.evidence)
    assert str(found.evidence.source.PatientID) == "T-1"


def test_several_images_of_a_radiograph_series_may_differ_in_size(tmp_path: Path) -> None:
    one = SINGLES["cr"]
    found = gather(tmp_path, both(one, edited(smaller, Scan(slices=4)))(tmp_path)[:1], FLAT, masked=False)
    assert found.evidence.source.Modality == "CR"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("latin name", "Müller^Jürgen"),
        ("chinese name", "Wang^XiaoDong=王^小东"),
        ("japanese name, first character set empty", "Yamada^Tarou=山田^太郎"),
        ("cyrillic name", "Люкceмбypг"),
    ],
)
def test_a_name_in_any_character_set_reads_the_same_in_the_objects(name: str, expected: str, tmp_path: Path) -> None:
    found = gather(tmp_path, VOLUMES[name].write(tmp_path))
    for path in _written(found, tmp_path).values():
        dataset = dcmread(path)
        assert (dataset.PatientName, dataset.SpecificCharacterSet) == (expected, "ISO_IR 192")


def test_what_an_enhanced_image_does_not_say_is_not_made_up(tmp_path: Path) -> None:
    found = gather(tmp_path, VOLUMES["enhanced ct, dirty"].write(tmp_path))
    for path in _written(found, tmp_path).values():
        dataset = dcmread(path)
        assert (dataset.PatientID, dataset.AccessionNumber, dataset.StudyID) == ("", "", "")


def _written(found: Gathered, folder: Path) -> dict[str, Path]:
    paths = {}
    for kind, dataset in compose(found.evidence, KINDS, AVAILABLE, {}).items():
        paths[kind] = folder / f"{kind}.dcm"
        paths[kind].write_bytes(encode(dataset))
    return paths


def _assert_in_place(found: Gathered, segmentation: Dataset) -> None:
    """Each frame lies where the frame, or image, that it refers to was described to lie."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    assert segmentation.PerFrameFunctionalGroupsSequence
    for item in segmentation.PerFrameFunctionalGroupsSequence:
        reference = item.DerivationImageSequence[0].SourceImageSequence[0]
        described = found.described[reference.ReferencedSOPInstanceUID]
        assert reference.ReferencedSOPClassUID == described.sop_class_uid
        if described.frames is None:
            assert "ReferencedFrameNumber" not in reference
            assert described.plane is not None
            expected, orientation = described.plane.position, described.plane.orientation
        else:
            number = int(reference.ReferencedFrameNumber)
            [(expected, orientation)] = [
                (position, stack.orientation)
                for stack in described.frames.stacks
                for each, position in zip(stack.numbers, stack.positions, strict=True)
                if each == number
            ]
        assert item.PlanePositionSequence[0].ImagePositionPatient == pytest.approx(expected, abs=1e-4)
        assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == pytest.approx(orientation, abs=1e-4)


def _assert_same_voxels(found: Gathered, path: Path) -> None:
    """What another reader puts together from the frames is our mask, voxel by voxel in patient space."""
    volume = hd.seg.segread(path).get_volume(combine_segments=True)
    labels, grid = found.evidence.labels, found.evidence.lattice
    index = np.argwhere(labels)
    places = index @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
    inverse = np.linalg.inv(volume.affine)
    theirs = np.rint(places @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    assert np.abs((theirs @ volume.affine[:3, :3].T + volume.affine[:3, 3]) - places).max() < 0.01
    assert (volume.array[tuple(theirs.T)] == labels[tuple(index.T)]).all()
    assert np.count_nonzero(volume.array) == len(index)
