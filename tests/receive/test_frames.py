"""Multi-frame images are described frame by frame; what cannot be placed says why."""

from __future__ import annotations

import resource
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pydicom.config
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless, SegmentationStorage

from node.domain.frames import each_slice
from node.domain.study import Instance, Plane
from node.receive import frames as reading
from node.receive.describer import describe
from node.receive.fields import instance_of
from node.receive.frames import whole
from node.receive.protocol import ANSWER, Job
from node.store.instances import _INSTANCE
from tests.enhanced import (
    CORONAL,
    FrameMade,
    MultiFrame,
    dataset_of,
    enhanced_ct,
    legacy_mr,
    stack_of,
    write,
)
from tests.receive.objects import mr_slice, part10


@pytest.fixture(autouse=True)
def as_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    warnings.simplefilter("ignore")


def described(path: Path) -> Instance:
    answer = describe(Job(id=1, path=str(path), issuer="A"), 60.0)
    assert answer.instance is not None, answer.undescribable
    return answer.instance


@pytest.mark.parametrize(
    "made",
    [
        MultiFrame(frames=stack_of(5)),
        MultiFrame(frames=stack_of(5), shares=False),
        MultiFrame(frames=stack_of(5), undefined_length=True),
        MultiFrame(frames=stack_of(5), syntax=RLELossless),
        enhanced_ct(5),
        legacy_mr(5),
    ],
    ids=["shared", "per frame", "undefined lengths", "compressed", "ct", "legacy converted"],
)
def test_every_frame_has_its_place_and_its_rescale(tmp_path: Path, made: MultiFrame) -> None:
    found = described(write(tmp_path / "a.dcm", made))
    assert found.plane is None
    assert found.pixels is not None
    assert not found.pixels.undecodable
    slices = each_slice([found])
    assert [each.frame.number for each in slices if each.frame] == [1, 2, 3, 4, 5]
    assert [each.plane for each in slices] == [
        Plane(position=frame.position, orientation=frame.orientation, spacing=made.spacing) for frame in made.frames
    ]
    assert {each.pixels.number_of_frames for each in slices if each.pixels} == {1}
    intercept = -1024.0 if found.modality == "CT" else 0.0
    assert {each.pixels.rescale_intercept for each in slices if each.pixels} == {intercept}
    assert {each.slice_thickness_mm for each in slices} == {3.0}


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_encoding_is_no_matter(tmp_path: Path, syntax: str) -> None:
    dataset = dataset_of(MultiFrame(frames=stack_of(4)))
    (tmp_path / "a.dcm").write_bytes(part10(dataset))
    (tmp_path / "b.dcm").write_bytes(part10(dataset, syntax))
    one, other = described(tmp_path / "a.dcm"), described(tmp_path / "b.dcm")
    assert one.frames is not None
    assert one.frames == other.frames
    assert one.content_digest == other.content_digest


def test_read_whole_or_frame_by_frame_it_is_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", legacy_mr(4))
    header, frames = whole(dcmread(path, stop_before_pixels=True))
    assert instance_of(header, issuer="A", has_pixels=True, frames=frames) == replace(
        described(path), content_digest=""
    )


def test_what_all_frames_share_is_said_as_of_a_single_image(tmp_path: Path) -> None:
    found = described(write(tmp_path / "a.dcm", MultiFrame(frames=stack_of(3, echo_time_ms=2.5))))
    assert found.slice_thickness_mm == 3.0
    assert {each.echo_time_ms for each in each_slice([found])} == {2.5}
    assert {each.echo_time_ms for each in each_slice([described(write(tmp_path / "b.dcm", legacy_mr(3)))])} == {2.5}


@pytest.mark.parametrize(
    ("frames", "apart"),
    [
        (stack_of(3, temporal_position=1) + stack_of(3, temporal_position=2), "temporal_position"),
        (stack_of(3, echo_time_ms=3.0) + stack_of(3, echo_time_ms=20.0), "echo_time_ms"),
        (stack_of(3, b_value=0.0) + stack_of(3, b_value=1000.0), "diffusion_b_value"),
        (stack_of(3) + stack_of(3, orientation=CORONAL), "orientation"),
    ],
)
def test_frames_that_differ_in_more_than_their_place_are_stacks_of_their_own(
    tmp_path: Path, frames: tuple[FrameMade, ...], apart: str
) -> None:
    found = described(write(tmp_path / "a.dcm", MultiFrame(frames=frames)))
    assert found.frames is not None
    assert [stack.numbers for stack in found.frames.stacks] == [(1, 2, 3), (4, 5, 6)]
    assert len({repr(getattr(stack, apart)) for stack in found.frames.stacks}) == 2


def test_a_rescale_of_its_own_stays_with_its_frame(tmp_path: Path) -> None:
    frames = tuple(replace(frame, rescale=(n + 0.5, -n)) for n, frame in enumerate(stack_of(3)))
    slices = each_slice([described(write(tmp_path / "a.dcm", MultiFrame(frames=frames)))])
    assert [(each.pixels.rescale_slope, each.pixels.rescale_intercept) for each in slices if each.pixels] == [
        (0.5, 0.0),
        (1.5, -1.0),
        (2.5, -2.0),
    ]


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (MultiFrame(frames=(*stack_of(3), FrameMade(position=None))), "1 of 4 frames do not say where they lie"),
        (MultiFrame(frames=stack_of(3), header={"NumberOfFrames": 2}), "functional groups of 3 frames where 2"),
        (MultiFrame(frames=(FrameMade(position=(1.0, 2.0)),) * 2), "2 of 2 frames do not say where"),
    ],
)
def test_frames_that_cannot_be_placed_say_why(tmp_path: Path, made: MultiFrame, problem: str) -> None:
    found = described(write(tmp_path / "a.dcm", made))
    assert found.frames is not None
    assert problem in found.frames.problem
    assert each_slice([found]) == [found]


def test_a_single_image_has_no_frames_and_the_digest_that_it_had(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(part10(mr_slice(1)))
    found = described(tmp_path / "a.dcm")
    assert found.frames is None
    assert found.content_digest == "62874171ea8a659a1a688d358781637c0f6f5c362bda418618fe95eecf38b938"


def test_what_is_no_image_is_not_looked_at_frame_by_frame(tmp_path: Path) -> None:
    found = described(write(tmp_path / "a.dcm", MultiFrame(frames=stack_of(3), sop_class_uid=SegmentationStorage)))
    assert found.frames is None
    assert found.pixels is not None
    assert found.pixels.number_of_frames == 3


def test_a_description_from_before_frames_is_still_read() -> None:
    old = (
        b'{"study_instance_uid":"1","series_instance_uid":"1","sop_instance_uid":"1","sop_class_uid":"1",'
        b'"transfer_syntax_uid":"1","pixels":{"rows":4,"columns":4,"number_of_frames":8}}'
    )
    found = _INSTANCE.validate_json(old)
    assert found.frames is None
    assert each_slice([found]) == [found]


def test_thousands_of_frames_take_neither_memory_nor_much_room(tmp_path: Path) -> None:
    made = MultiFrame(frames=stack_of(1500), rows=2, columns=2, shares=False, undefined_length=True)
    path = write(tmp_path / "a.dcm", made)
    described(write(tmp_path / "b.dcm", MultiFrame(frames=stack_of(3))))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = describe(Job(id=1, path=str(path), issuer=""), 60.0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << (0 if sys.platform == "darwin" else 10)
    assert grown < 24 << 20
    assert answer.instance is not None
    assert answer.instance.frames is not None
    assert [len(stack.numbers) for stack in answer.instance.frames.stacks] == [1500]
    assert len(ANSWER.dump_json(answer, exclude_defaults=True)) < 1500 * 60


@pytest.mark.parametrize("undefined_length", [False, True])
def test_more_frames_than_are_read_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undefined_length: bool
) -> None:
    monkeypatch.setattr(reading, "MOST_FRAMES", 4)
    found = described(write(tmp_path / "a.dcm", MultiFrame(frames=stack_of(5), undefined_length=undefined_length)))
    assert found.frames is not None
    assert found.frames.problem == "5 frames, more than the 4 that are read"
    assert found.pixels is not None
    assert not found.pixels.undecodable


def test_damaged_functional_groups_are_undescribable_and_no_traceback(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", MultiFrame(frames=stack_of(5), undefined_length=True))
    content = path.read_bytes()
    at = content.index(b"\x00\x52\x30\x92")
    for cut in (at + 4, at + 11, at + 40, at + 300):
        path.write_bytes(content[:cut])
        answer = describe(Job(id=1, path=str(path), issuer=""), 60.0)
        assert answer.undescribable or (answer.instance and answer.instance.pixels is None)


def test_malformed_values_in_a_group_place_nothing(tmp_path: Path) -> None:
    dataset = dataset_of(MultiFrame(frames=stack_of(3)))
    broken = Dataset()
    broken.add_new("ImagePositionPatient", "LO", ["a", "b", "c"])
    dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence = [broken]
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    found = described(tmp_path / "a.dcm")
    assert found.frames is not None
    assert "1 of 3 frames do not say" in found.frames.problem
