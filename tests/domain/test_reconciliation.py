"""Merged, corrected and mixed-up patients: what a result says to be filed with its study, or that nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.patient import Patient, is_nobody, same_name
from node.domain.reconciliation import Filed, Verdict, corrected, reconcile
from tests.fakes import PATIENT

OURS = Filed(patient=PATIENT, accession_number="A1")


def filed(accession_number: str = "A1", **changes: str) -> Filed:
    return Filed(patient=replace(PATIENT, **changes), accession_number=accession_number)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Doe^Jane", "DOE^JANE^^^", True),
        ("Doe^Jane", " doe ^ jane ", True),
        ("Doe^Jane", "Doe Jane", True),
        ("Doe^Jane", "DOE, JANE", True),
        ("Doe^Jane^Mary", "Doe^Jane", True),
        ("Doe^Jane^Mary", "Doe^Jane^Ann", False),
        ("Doe^Jane^^Dr.", "Doe^Jane", True),
        ("Doe", "Doe^Jane", True),
        ("Doe^Jane", "Roe^Jane", False),
        ("Doe^Jane", "Doe^John", False),
        ("Müller^Jürgen", "MUELLER^JUERGEN", True),
        ("Müller^Jürgen", "MULLER^JURGEN", True),
        ("Mu\u0308ller^A", "Müller^A", True),
        ("Müller^Jürgen", "Möller^Jürgen", False),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada^Taro=山田^太郎", True),
        ("Yamada^Tarou=山田^太郎", "YAMADA^TAROU", True),
        ("=山田^太郎", "Yamada^Tarou", None),
        ("Yamada^Tarou=山田^太郎", "Suzuki^Tarou=鈴木^太郎", False),
        ("", "Doe^Jane", None),
        ("UNKNOWN^MALE", "Doe^Jane", None),
        ("Unknown^Trauma 17", "Doe^Jane", None),
    ],
)
def test_names_are_compared_as_people_write_them(one: str, other: str, same: bool | None) -> None:
    assert same_name(one, other) is same
    assert same_name(other, one) is same


def test_a_name_that_names_nobody_is_known() -> None:
    assert all(map(is_nobody, ("", "^^^", "UNKNOWN", "Unbekannt^Male", "N.N.", "TRAUMA^0815")))
    assert not any(map(is_nobody, ("Doe^Jane", "M^F", "Male^Anna", "山田^太郎", "0815")))


@pytest.mark.parametrize(
    ("theirs", "verdict", "corrections"),
    [
        (filed(), Verdict.AGREES, {}),
        (filed(name="DOE^JANE^^^"), Verdict.AGREES, {}),
        (Filed(), Verdict.AGREES, {}),
        (filed("", issuer="", sex=""), Verdict.AGREES, {}),
        (filed(sex="UNKNOWN", birth_date="197"), Verdict.AGREES, {}),
        # Corrections: the ID stands.
        (filed("A2"), Verdict.CORRECT, {"AccessionNumber": "A2"}),
        (filed(name="Roe^Jane"), Verdict.CORRECT, {"PatientName": "Roe^Jane"}),
        (filed(birth_date="19710101"), Verdict.CORRECT, {"PatientBirthDate": "19710101"}),
        (filed(name="Roe^John", sex="M"), Verdict.CORRECT, {"PatientName": "Roe^John", "PatientSex": "M"}),
        # Merges: the person stands.
        (filed(patient_id="P2"), Verdict.CORRECT, {"PatientID": "P2"}),
        (filed(patient_id="P2", issuer="B"), Verdict.CORRECT, {"PatientID": "P2", "IssuerOfPatientID": "B"}),
        (filed(patient_id="P2", issuer=""), Verdict.CORRECT, {"PatientID": "P2", "IssuerOfPatientID": ""}),
        (filed(issuer="B"), Verdict.CORRECT, {"IssuerOfPatientID": "B"}),
        (filed(patient_id="P2", birth_date="", sex=""), Verdict.CORRECT, {"PatientID": "P2"}),
        # Another person, or nobody can say.
        (filed(name="Roe^John", birth_date="19710101"), Verdict.CONTRADICTS, {}),
        (filed(patient_id="P2", name="Roe^Jane"), Verdict.CONTRADICTS, {}),
        (filed(patient_id="P2", birth_date="19710101"), Verdict.CONTRADICTS, {}),
        (filed(patient_id="P2", sex="M"), Verdict.CONTRADICTS, {}),
        (filed(issuer="B", name="Roe^Jane"), Verdict.CONTRADICTS, {}),
        (filed(patient_id="P2", name=""), Verdict.CONTRADICTS, {}),
        (filed(patient_id="UNKNOWN"), Verdict.CONTRADICTS, {}),
        (filed(patient_id="P*"), Verdict.CONTRADICTS, {}),
    ],
)
def test_what_an_archive_says_decides(theirs: Filed, verdict: Verdict, corrections: dict[str, str]) -> None:
    found = reconcile(OURS, [theirs])
    assert (found.verdict, dict(found.corrections)) == (verdict, corrections)


def test_an_unknown_patient_takes_the_identity_that_the_archive_knows() -> None:
    unknown = Filed(patient=Patient(patient_id="TRAUMA-17", issuer="A", name="UNKNOWN^FEMALE", sex="F"))
    found = reconcile(unknown, [filed()])
    assert found.verdict is Verdict.CORRECT
    assert found.corrections == {"PatientID": "P1", "PatientName": "Doe^Jane"}
    nobody = Filed(patient=Patient(patient_id="UNKNOWN", name="", birth_date="19000101"))
    assert reconcile(nobody, [filed()]).corrections == {
        "PatientID": "P1",
        "IssuerOfPatientID": "A",
        "PatientBirthDate": "19700101",
    }
    assert reconcile(Filed(), [filed()]).corrections == {"PatientID": "P1", "IssuerOfPatientID": "A"}


def test_a_study_that_is_filed_twice_is_for_a_person() -> None:
    assert reconcile(OURS, [filed(), filed(patient_id="P2")]).verdict is Verdict.CONTRADICTS


def test_no_reason_names_the_patient() -> None:
    for theirs in (filed(patient_id="P2"), filed(name="Roe^John", birth_date="19710101"), filed("A2")):
        told = reconcile(OURS, [theirs]).reason
        assert told
        assert not any(value in told for value in ("P1", "P2", "Doe", "Roe", "1970", "1971", "A1", "A2"))


texts = {
    "patient_id": st.sampled_from(["", "P1", "P2", "UNKNOWN"]),
    "issuer": st.sampled_from(["", "A", "B"]),
    "name": st.sampled_from(["", "Doe^Jane", "DOE^JANE^", "Roe^John", "UNKNOWN^MALE"]),
    "birth_date": st.sampled_from(["", "19700101", "19710101"]),
    "sex": st.sampled_from(["", "F", "M"]),
}
patients = st.builds(Patient, **texts)
files = st.builds(Filed, patient=patients, accession_number=st.sampled_from(["", "A1", "A2"]))


@given(files, files)
def test_what_is_corrected_agrees_with_the_archive_from_then_on(ours: Filed, theirs: Filed) -> None:
    found = reconcile(ours, [theirs])
    if found.verdict is Verdict.CONTRADICTS:
        assert found.reason
        return
    bears = corrected(ours.patient, found.corrections)
    accession = found.corrections.get("AccessionNumber", ours.accession_number)
    again = reconcile(Filed(patient=bears, accession_number=accession), [theirs])
    assert again.verdict is Verdict.AGREES
    assert not (theirs.patient.patient_id and bears.patient_id != theirs.patient.patient_id)


@given(files, files)
def test_another_person_is_never_believed(ours: Filed, theirs: Filed) -> None:
    one, other = ours.patient, theirs.patient
    renamed = same_name(one.name, other.name) is False
    reborn = bool(one.birth_date and other.birth_date and one.birth_date != other.birth_date)
    renumbered = bool(other.patient_id) and one.patient_id != other.patient_id
    if (renamed and reborn) or (renumbered and (renamed or (reborn and one.is_identified))):
        assert reconcile(ours, [theirs]).verdict is Verdict.CONTRADICTS
