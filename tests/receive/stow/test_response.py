from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from pydicom.dataset import Dataset

from node.receive.stow.response import JSON, XML, Outcome, http_status, offered_for, written

STORED = Outcome(status=0, sop_class_uid="1.2.3", sop_instance_uid="1.2.3.1")
FAILED = Outcome(status=0xC000, sop_class_uid="1.2.3", sop_instance_uid="1.2.3.2", reason="truncated")
UNKNOWN = Outcome(status=0xC000, reason="no DICOM file")
LATER = Outcome(status=0xA700, sop_class_uid="1.2.3", sop_instance_uid="1.2.3.3", later=True)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([STORED], 200),
        ([STORED, FAILED], 202),
        ([STORED, LATER], 202),
        ([FAILED, UNKNOWN], 409),
        ([FAILED, LATER], 409),
        ([LATER, LATER], 503),
    ],
)
def test_the_whole_is_as_good_as_its_parts(outcomes: list[Outcome], status: int):
    assert http_status(outcomes) == status


@pytest.mark.parametrize(
    ("accept", "offered"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/dicom+json", JSON),
        ("application/json", "application/json"),
        ("application/dicom+xml", XML),
        ("Application/DICOM+XML; q=0.9, application/dicom+json;q=0.5", XML),
        ("text/html, */*;q=0.1", JSON),
        ("application/dicom+json;q=0, */*", "application/json"),
        ("text/html", None),
        ("application/dicom+json;q=0", None),
        ("application/dicom+json;q=much", None),
    ],
)
def test_the_form_is_the_one_asked_for(accept: str, offered: str | None):
    assert offered_for(accept) == offered


def test_the_module_reads_as_dicom_json():
    module = Dataset.from_json(written([STORED, FAILED, UNKNOWN], JSON))
    [stored], [failed], [unknown] = module.ReferencedSOPSequence, module.FailedSOPSequence, module[0x0008119A].value
    assert (stored.ReferencedSOPClassUID, stored.ReferencedSOPInstanceUID) == ("1.2.3", "1.2.3.1")
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == ("1.2.3.2", 0xC000)
    assert unknown.FailureReason == 0xC000
    assert not module.RetrieveURL
    assert not stored.RetrieveURL
    assert set(json.loads(written([STORED], JSON))) == {"00081190", "00081199"}


def test_the_module_reads_as_xml():
    root = ET.fromstring(written([STORED, FAILED], XML))
    assert root.tag == "NativeDicomModel"
    told = {each.get("keyword"): [value.text for value in each.iter("Value")] for each in root}
    assert told == {
        "RetrieveURL": [],
        "FailedSOPSequence": ["1.2.3", "1.2.3.2", str(0xC000)],
        "ReferencedSOPSequence": ["1.2.3", "1.2.3.1"],
    }
    assert [each.get("tag") for each in root] == ["00081190", "00081198", "00081199"]
