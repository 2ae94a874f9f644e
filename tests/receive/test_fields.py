from __future__ import annotations

import io

import pydicom.config
import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from node.domain.history import FACT_CODES
from node.domain.patient import Patient
from node.domain.study import Instance
from node.receive.fields import age_years, instance_of, is_ours
from tests.receive.objects import SERIES, STUDY, mr_slice, part10


@pytest.fixture(autouse=True)
def as_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)


def described(dataset: Dataset, issuer: str = "A") -> Instance:
    header = dcmread(io.BytesIO(part10(dataset)), stop_before_pixels=True)
    return instance_of(header, issuer=issuer, has_pixels="PixelData" in dataset)


def raw(keyword_tag: int, vr: str, value: bytes) -> dict[Tag, RawDataElement]:
    return {Tag(keyword_tag): RawDataElement(Tag(keyword_tag), vr, len(value), value, 0, False, True)}


def with_raw(tag: int, vr: str, value: bytes) -> Instance:
    """Describe a header in which one element holds just these bytes, which no writer would write."""
    header = dcmread(io.BytesIO(part10(mr_slice())), stop_before_pixels=True)
    header._dict.update(raw(tag, vr, value))
    return instance_of(header, issuer="", has_pixels=True)


def test_every_value_of_a_slice_is_typed():
    found = described(mr_slice(4))
    assert found.study_instance_uid == STUDY
    assert (found.series_instance_uid, found.sop_instance_uid) == (SERIES, f"{SERIES}.4")
    assert found.patient == Patient(patient_id="P1", issuer="A", name="Doe^Jane", birth_date="19700101", sex="F")
    assert (found.order.study_date, found.order.accession_number, found.order.patient_age_years) == (
        *("20260101", "A1", 45.0),
    )
    assert (found.modality, found.series_number, found.instance_number) == ("MR", 3, 4)
    assert (found.image_type, found.echo_time_ms, found.slice_thickness_mm) == (("ORIGINAL", "PRIMARY"), 2.5, 2.0)
    assert found.plane is not None
    assert found.plane.position == (0.0, 0.0, 8.0)
    assert found.plane.orientation == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    assert found.pixels is not None
    assert (found.pixels.rows, found.pixels.columns, found.pixels.bits_stored) == (40, 36, 12)
    assert (found.pixels.rescale_slope, found.pixels.rescale_intercept, found.pixels.undecodable) == (1.0, 0.0, "")


def test_the_issuer_of_the_object_goes_before_the_peers():
    assert described(mr_slice(IssuerOfPatientID="B")).patient.issuer == "B"
    assert described(mr_slice()).patient.issuer == "A"
    assert described(mr_slice(), issuer="").patient.issuer == ""


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("045Y", 45.0),
        ("006M", 0.5),
        ("003W", 0.057),
        ("010D", 0.027),
        ("45", None),
        ("Y", None),
        ("", None),
        ("-45Y", None),
        ("٤٥Y", None),
    ],
)
def test_ages_are_years(text: str, years: float | None):
    assert age_years(text) == years


@pytest.mark.parametrize(
    ("tag", "vr", "value", "field"),
    [
        (0x00180081, "DS", b"two ", "echo_time_ms"),
        (0x00180050, "DS", b"1e999 ", "slice_thickness_mm"),
        (0x00200013, "IS", b"1.5 ", "instance_number"),
        (0x00200011, "IS", b"nan ", "series_number"),
        (0x00200032, "DS", b"1\\2\\x ", "plane"),
        (0x00200037, "DS", b"1\\0\\0 ", "plane"),
        (0x00280030, "DS", b"1 ", "plane"),
        (0x00280010, "US", b"\1", "pixels"),
    ],
)
def test_a_malformed_value_is_absent_and_the_rest_is_there(tag: int, vr: str, value: bytes, field: str):
    found = with_raw(tag, vr, value)
    assert getattr(found, field) is None
    assert found.modality == "MR"


def test_a_malformed_rescale_makes_the_pixels_undecodable_instead_of_wrong():
    found = with_raw(0x00281053, "DS", b"one ")
    assert found.pixels is not None
    assert found.pixels.undecodable == "malformed: RescaleSlope"


def test_an_unknown_character_set_or_vr_costs_one_value_at_most():
    assert described(mr_slice(SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jörg")).patient.name == (
        "Müller^Jörg"
    )
    assert with_raw(0x00080005, "CS", b"NO SUCH SET ").modality == "MR"
    assert with_raw(0x0008103E, "??", b"abc ").modality == "MR"


def test_what_the_data_set_says_of_the_patient_is_a_fact_each():
    inner = Dataset()
    inner.ReasonForTheRequestedProcedure = "headache"
    inner.RequestedProcedurePriority = "stat"
    found = described(
        mr_slice(
            MedicalAlerts=["PACEMAKER", "ALLERGY"],
            PregnancyStatus=4,
            AdditionalPatientHistory="stroke 2020",
            RequestAttributesSequence=Sequence([inner]),
        )
    )
    assert {(fact.code, fact.value) for fact in found.order.facts} == {
        ("medical_alert", "PACEMAKER"),
        ("medical_alert", "ALLERGY"),
        ("pregnancy_status", "4"),
        ("additional_history", "stroke 2020"),
        ("reason_for_request", "headache"),
    }
    assert {fact.observed_at for fact in found.order.facts} == {"2026-01-01"}
    assert {fact.source for fact in found.order.facts} == {"dataset"}
    assert {fact.code for fact in found.order.facts} <= FACT_CODES
    assert found.order.requested_priority == "STAT"


def test_an_enhanced_object_has_frames_and_no_plane():
    dataset = mr_slice(NumberOfFrames=3, ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None)
    dataset.PixelData = dataset.PixelData * 3
    found = described(dataset)
    assert found.plane is None
    assert found.pixels is not None
    assert found.pixels.number_of_frames == 3


def test_no_pixel_data_is_no_pixels():
    assert described(mr_slice(PixelData=None)).pixels is None


def test_what_our_equipment_made_is_ours():
    assert is_ours(described(mr_slice(ManufacturerModelName="Matins")))
    assert not is_ours(described(mr_slice(ManufacturerModelName="Matins II")))
    assert not is_ours(described(mr_slice()))
