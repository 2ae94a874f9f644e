from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.patient import Patient
from node.errors import Failed
from node.retrieve.dicom_query import study_identifier
from node.retrieve.found import FoundStudy
from node.retrieve.keys import StudyKeys

UID = "1.2.3"
KEYWORDS = ("StudyInstanceUID", "AccessionNumber", "PatientID", "StudyDate", "ModalitiesInStudy")


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"modality": "MR"},
        {"until": "20260101"},
        {"study_instance_uid": UID, "accession_number": "A1"},
        {"patient_id": "P1", "accession_number": "A1"},
        *({"study_instance_uid": each} for each in ("*", "1.2.*", "1.2..3", "1.2 ", "1.2\\1.3", "1." * 40 + "1")),
        *({"accession_number": each} for each in ("*", "A*", "A?", "A\\B", " A", "A ", "A\n", "\x1b[0m", "A" * 17)),
        *({"patient_id": each} for each in ("*", "P*", "UNKNOWN", "unknown", "0", "N/A", "test", "P\\Q", "P" * 65)),
        *({"since": each} for each in ("2026", "20261301", "20260101-", "2026-01-01", "-", "*", "today")),
        *({"accession_number": each} for each in ("-", "--", "./.", "_")),
        *({"patient_id": each} for each in ("-", "---", "?-", ".")),
        {"since": "20260102", "until": "20260101"},
        *({"since": "20260101", "modality": each} for each in ("*", "M?", "MR\\CT", "mr", " MR")),
    ],
)
def test_what_could_match_more_than_itself_is_refused_before_any_network(keys: dict[str, str]) -> None:
    with pytest.raises(Failed):
        StudyKeys(**keys)


@given(st.sampled_from(["accession_number", "patient_id", "study_instance_uid", "since"]), st.text(max_size=70))
def test_whatever_is_given_no_pattern_list_or_empty_key_is_ever_sent(key: str, text: str) -> None:
    try:
        keys = StudyKeys(**{key: text})
    except Failed:
        return
    identifier = study_identifier(keys)
    sent = {keyword: str(identifier[keyword].value or "") for keyword in KEYWORDS}
    matching = {keyword: value for keyword, value in sent.items() if value}
    assert len(matching) == 1
    (value,) = matching.values()
    assert not set(value) & set("*?\\")
    assert value.strip("-")
    assert value.isprintable()
    assert value.rstrip("-") == text


@given(
    st.builds(
        FoundStudy,
        study_instance_uid=st.sampled_from([UID, "1.2.4"]),
        accession_number=st.sampled_from(["", "A1", "A2", "A1 "]),
        patient=st.builds(Patient, patient_id=st.sampled_from(["", "P1", "P2"])),
        study_date=st.sampled_from(["", "20251231", "20260101", "20260131", "20260201"]),
        modalities=st.sampled_from([(), ("MR",), ("CT", "MR"), ("CT",)]),
    )
)
def test_only_answers_to_what_was_asked_are_believed(found: FoundStudy) -> None:
    assert (not StudyKeys(study_instance_uid=UID).disbelief(found)) == (found.study_instance_uid == UID)
    assert (not StudyKeys(accession_number="A1").disbelief(found)) == (found.accession_number == "A1")
    assert (not StudyKeys(patient_id="P1").disbelief(found)) == (found.patient.patient_id == "P1")
    january = StudyKeys(since="20260101", until="20260131", modality="MR")
    inside = found.study_date in {"20260101", "20260131"} and "MR" in found.modalities
    assert (not january.disbelief(found)) == inside


def test_the_issuer_is_compared_with_the_answers_but_never_sent() -> None:
    identifier = study_identifier(StudyKeys(patient_id="P1", issuer="HOSPITAL-A"))
    assert identifier.PatientID == "P1"
    assert "IssuerOfPatientID" in identifier
    assert not identifier.IssuerOfPatientID


def test_a_key_beyond_ascii_says_its_character_set() -> None:
    assert study_identifier(StudyKeys(accession_number="Ä1")).SpecificCharacterSet == "ISO_IR 192"
    assert "SpecificCharacterSet" not in study_identifier(StudyKeys(accession_number="A1"))
