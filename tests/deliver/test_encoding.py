"""A data set goes in the syntax that the destination takes, and says the same in each."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless

from node.deliver.encoding import DEFLATED, DEFLATED_ABOVE_BYTES, EXPLICIT, IMPLICIT, encoded, other_syntaxes
from node.deliver.stored import read_header
from node.domain.work import ResultState, WorkKind
from node.errors import Failed
from node.store import capabilities, outbox, work_items
from node.store.capabilities import Capability
from node.store.database import Database
from tests.deliver.conftest import (
    SEG,
    UID_ROOT,
    Pacs,
    dataset_bytes,
    queue_results,
    serving,
    settings_for,
    write_object,
)
from tests.deliver.test_carriage import reached_by
from tests.fakes import PATIENT, SR, STUDY, FakeClock

Start = Callable[..., Pacs]
LARGE = DEFLATED_ABOVE_BYTES + 1000


def values(dataset: Dataset) -> dict[str, object]:
    """What it says, without value representations: Implicit VR knows none for private elements."""

    def plain(element: dict[str, object]) -> object:
        value = element.get("Value", element.get("InlineBinary"))
        if isinstance(value, list):
            return [{tag: plain(each) for tag, each in one.items()} if isinstance(one, dict) and "vr" not in one
                    and all(isinstance(each, dict) for each in one.values()) else one for one in value]  # fmt: skip
        return value

    return {tag: plain(element) for tag, element in dataset.to_json_dict().items()}


def read(dataset: bytes, syntax: str) -> Dataset:
    """A data set of a network, as a reader sees it."""
    meta = Dataset()
    meta.TransferSyntaxUID = UID(syntax)
    stream = BytesIO()
    if syntax == DEFLATED:
        dataset, syntax = zlib.decompressobj(-zlib.MAX_WBITS).decompress(dataset), EXPLICIT
    stream.write(dataset)
    stream.seek(0)
    from pydicom.filereader import read_dataset

    return read_dataset(stream, is_implicit_VR=syntax == IMPLICIT, is_little_endian=True)


def rich(path: Path) -> Path:
    """A Segmentation with sequences of defined and undefined length, pixels of one bit, and text of many alphabets."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = SEG, f"{UID_ROOT}.1"
    made.PatientName, made.PatientID = "Müller^Jörg=山田^太郎", "P1"
    inner = Dataset()
    inner.CodeValue, inner.CodeMeaning = "12738006", "Gehirn – Großhirn"
    outer = Dataset()
    outer.SegmentNumber, outer.SegmentedPropertyTypeCodeSequence = 1, [inner]
    outer.RecommendedDisplayCIELabValue = [1, 2, 65535]
    made.SegmentSequence = [outer, outer]
    made["SegmentSequence"].is_undefined_length = True
    made.SliceThickness = "1.50"
    made.Rows, made.Columns, made.NumberOfFrames = 8, 8, "3"
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = made.PixelRepresentation = 0
    made.SmallestImagePixelValue = 0
    made.RealWorldValueSlope = 0.1
    made.add_new(0x00091001, "OB", bytes(range(10)))
    made.add_new(0x7FE00010, "OB", bytes(range(24)))
    made.file_meta = Dataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, DEFLATED])
def test_the_values_are_equal_in_every_syntax(tmp_path: Path, syntax: str) -> None:
    path = rich(tmp_path / "seg.dcm")
    content = path.read_bytes()
    made = encoded(read_header(path), content, syntax)
    assert len(made) % 2 == 0
    assert values(read(made, syntax)) == values(Dataset(dcmread(path)))
    assert path.read_bytes() == content
    if syntax == EXPLICIT:
        assert made == dataset_bytes(path)
    else:
        assert made == encoded(read_header(path), content, syntax) != dataset_bytes(path)


def test_a_segmentation_of_ours_says_the_same_in_implicit_vr(tmp_path: Path) -> None:
    from node.report.composition import compose, encode
    from node.report.outputs import outputs
    from tests.report.synthetic import SCANS, evidence_on, mr_series

    built = compose(evidence_on(mr_series(tmp_path, SCANS["oblique"])), ["seg", "measurement_sr"], outputs(), {})
    for kind, dataset in built.items():
        path = tmp_path / f"{kind}.out"
        path.write_bytes(encode(dataset))
        made = encoded(read_header(path), path.read_bytes(), IMPLICIT)
        assert values(read(made, IMPLICIT)) == values(Dataset(dcmread(path)))


def test_encapsulated_pixel_data_is_sent_as_it_is_or_not_at_all(tmp_path: Path) -> None:
    path = write_object(tmp_path, 1, PATIENT, SEG, LARGE)
    made = dcmread(path)
    made.file_meta.TransferSyntaxUID = JPEG2000Lossless
    made.save_as(path)
    assert other_syntaxes(read_header(path), compress=True) == []


def test_only_large_data_sets_are_deflated_and_only_where_the_site_wants_it(tmp_path: Path) -> None:
    small, large = (
        read_header(write_object(tmp_path, number, PATIENT, SEG, size)) for number, size in ((1, 100), (2, LARGE))
    )
    assert other_syntaxes(small, compress=True) == [IMPLICIT]
    assert other_syntaxes(large, compress=False) == [IMPLICIT]
    assert other_syntaxes(large, compress=True) == [DEFLATED, IMPLICIT]


def test_what_cannot_be_read_is_no_passing_fault(tmp_path: Path) -> None:
    path = write_object(tmp_path, 1, PATIENT, SEG, 100)
    header = read_header(path)
    rows = b"\x28\0\x10\0US\x03\0abc"
    with pytest.raises(Failed, match="Implicit VR"):
        encoded(header, path.read_bytes()[: header.start] + rows, IMPLICIT)


def test_a_destination_that_takes_only_implicit_vr_gets_the_same_values(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    archive = pacs(syntaxes=(IMPLICIT,))
    queue_results(db, clock.now())
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    (row,) = outbox.of_study(db, STUDY)
    assert row.state is ResultState.SENT
    ((_, received),) = archive.received
    assert values(read(received, IMPLICIT)) == values(Dataset(dcmread(db.folder / row.path)))
    assert capabilities.known_refusal(db, clock.now(), "PACS", SR) == ""


def test_a_large_object_is_deflated_in_transit_where_that_is_accepted(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    archive = pacs(syntaxes=(EXPLICIT, DEFLATED))
    queue_results(db, clock.now(), size=LARGE)
    queue_results(db, clock.now(), (2,), study="1.2.3.2")
    stored = dataset_bytes(db.folder / "results" / "1.dcm")
    settings = reached_by(settings_for(db, {"PACS": archive.port}), compress=True)
    serving(db, clock, settings).step()
    (_, large), (_, small) = archive.received
    assert len(large) < len(stored) / 10
    assert zlib.decompressobj(-zlib.MAX_WBITS).decompress(large) == stored
    assert small == dataset_bytes(db.folder / "results" / "2.dcm")
    assert dataset_bytes(db.folder / "results" / "1.dcm") == stored


def test_what_is_not_understood_deflated_goes_again_as_it_is(db: Database, clock: FakeClock, pacs: Start) -> None:
    archive = pacs(0xC000, 0x0000, syntaxes=(EXPLICIT, DEFLATED))
    queue_results(db, clock.now(), size=LARGE)
    sender = serving(db, clock, reached_by(settings_for(db, {"PACS": archive.port}), compress=True))
    sender.step()
    clock.forward(64)
    sender.step()
    stored = dataset_bytes(db.folder / "results" / "1.dcm")
    assert [content == stored for _, content in archive.received] == [False, True]
    assert outbox.of_study(db, STUDY)[0].state is ResultState.SENT


def test_without_the_wish_nothing_is_deflated(db: Database, clock: FakeClock, pacs: Start) -> None:
    archive = pacs(syntaxes=(EXPLICIT, DEFLATED))
    queue_results(db, clock.now(), size=LARGE)
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    assert [content for _, content in archive.received] == [dataset_bytes(db.folder / "results" / "1.dcm")]


def test_a_refused_class_is_remembered_from_the_association_and_another_kind_asked_for(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    archive = pacs(classes=(SR,))
    queue_results(db, clock.now(), (1,), sop_class=SEG)
    queue_results(db, clock.now(), (2,), study="1.2.3.2")
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    (row,) = outbox.of_study(db, STUDY)
    assert row.state is ResultState.DEAD
    assert work_items.open_subjects(db, WorkKind.FALLBACK, limit=9) == [f"{row.id}:1"]
    assert "does not accept Segmentation Storage" in capabilities.known_refusal(db, clock.now(), "PACS", SEG)
    assert capabilities.known_refusal(db, clock.now(), "PACS", SR) == ""
    known = {
        (each.sop_class_uid, each.transfer_syntax_uid): each.accepted
        for each in capabilities.of_destination(db, "PACS")
    }
    assert known == {
        (SEG, EXPLICIT): False,
        (SEG, IMPLICIT): False,
        (SR, EXPLICIT): True,
        (SR, IMPLICIT): False,
        (SR, ""): True,
    }


@pytest.mark.parametrize("status", [0xA900, 0x0122, 0x0124])
def test_what_is_not_taken_gets_another_kind_and_only_what_is_said_of_the_class_is_remembered(
    db: Database, clock: FakeClock, pacs: Start, status: int
) -> None:
    archive = pacs(status)
    queue_results(db, clock.now())
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    assert work_items.open_subjects(db, WorkKind.FALLBACK, limit=9) == ["1:1"]
    assert bool(capabilities.known_refusal(db, clock.now(), "PACS", SR)) == (status == 0x0122)
    stored = Capability(sop_class_uid=SR, transfer_syntax_uid="", accepted=True)
    capabilities.record(db, clock.now(), "PACS", [stored])
    assert capabilities.known_refusal(db, clock.now(), "PACS", SR) == ""
