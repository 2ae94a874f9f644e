"""What is encoded by hand is what pydicom encodes, and reads."""

from __future__ import annotations

import pytest
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from node.report.composition import encode
from node.report.segments.explicit_vr import encoded, item, put, reread, sequence, text


@pytest.mark.parametrize("uid", ["1.2.840.1", "1.2.840.10"])
@pytest.mark.parametrize("position", [["1", "2.5", "-3"], ["0", "0", "0"]])
def test_elements_and_sequences_are_pydicoms(uid: str, position: list[str]) -> None:
    dataset, place = Dataset(), Dataset()
    place.ReferencedSOPInstanceUID, place.ImagePositionPatient = uid, position
    dataset.PlanePositionSequence = [place, place]
    by_hand = item(text("ReferencedSOPInstanceUID", "UI", uid), text("ImagePositionPatient", "DS", *position))
    assert sequence("PlanePositionSequence", [by_hand, by_hand]) == encoded(dataset)


def test_a_sequence_put_in_is_written_as_it_is_and_read_when_asked_for() -> None:
    dataset, described = Dataset(), Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.1", "1.2.840.2"
    dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 192", "山田^太郎"
    read = reread(dataset)
    put(read, "PlanePositionSequence", item(text("ImagePositionPatient", "DS", 1, 2, 3)) * 2)
    described.ImagePositionPatient = ["1", "2", "3"]
    dataset.PlanePositionSequence = [described, described]
    assert encode(read) == encode(dataset)
    assert read.get_item("PlanePositionSequence").is_raw
    assert [list(each.ImagePositionPatient) for each in read.PlanePositionSequence] == [[1, 2, 3], [1, 2, 3]]
    assert encode(read) == encode(dataset)
