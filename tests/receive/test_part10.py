from __future__ import annotations

import io

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.domain.uid import IMPLEMENTATION_CLASS_UID
from node.errors import Refused
from node.receive.part10 import head, read_meta
from tests.receive.objects import encoded, mr_slice, part10


def test_pydicom_reads_the_head_that_is_written():
    dataset = dcmread(io.BytesIO(part10(mr_slice(), sending="SCANNER1")))
    meta = dataset.file_meta
    assert dataset.preamble == bytes(128)
    assert meta.FileMetaInformationVersion == b"\x00\x01"
    assert meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert meta.MediaStorageSOPClassUID == dataset.SOPClassUID
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert (meta.SourceApplicationEntityTitle, meta.SendingApplicationEntityTitle) == ("SCANNER1", "SCANNER1")
    assert "ReceivingApplicationEntityTitle" not in meta
    assert dataset.PatientName == "Doe^Jane"


def test_what_was_written_is_read_back():
    made = head(
        sop_class_uid="1.2.3", sop_instance_uid="1.2.4", transfer_syntax_uid="1.2.5", sending="ABC", receiving="MATINS"
    )
    meta = read_meta(made + b"rest")
    assert (meta.sop_class_uid, meta.transfer_syntax_uid) == ("1.2.3", "1.2.5")
    assert (meta.sending_ae_title, meta.receiving_ae_title) == ("ABC", "MATINS")
    assert meta.dataset_offset == len(made)


def test_a_file_without_preamble_is_read():
    whole = part10(mr_slice())
    assert read_meta(whole[132:]).dataset_offset == read_meta(whole).dataset_offset - 132


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_bare_data_set_is_read_by_its_first_element(syntax: str):
    meta = read_meta(encoded(mr_slice(), syntax))
    assert (meta.transfer_syntax_uid, meta.dataset_offset) == (syntax, 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no DICOM file"),
        (b"hello", "no DICOM file"),
        (b"\0" * 200, "no DICOM file"),
        (bytes(128) + b"DICM", "transfer syntax"),
        (bytes(128) + b"DICM\x02\x00", "ends inside"),
        (bytes(128) + b"DICM\x02\x00\x10\x00UI\xff\xff", "does not end"),
        (bytes(128) + b"DICM\x02\x00\x10\x00UI\x06\x001.2/\xe9 ", "transfer syntax is no UID"),
    ],
)
def test_what_is_no_dicom_file_is_refused(content: bytes, reason: str):
    with pytest.raises(Refused, match=reason):
        read_meta(content)
