from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterable

import pydicom.config
import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import KeyObjectSelectionDocumentStorage, MRImageStorage

from node.domain.history import TOPICS
from node.domain.patient import Patient
from node.domain.rejection import MOST_REFERENCES, Reference, RejectionTitle
from node.domain.study import Instance
from node.receive.fields import age_years, instance_of, is_ours
from tests.receive.objects import SERIES, STUDY, mr_slice, part10


@pytest.fixture(autouse=True)
def as_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    warnings.simplefilter("ignore")


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


def in_bytes(*, character_set: bytes, name: bytes = b"A", patient_id: bytes = b"P1") -> Instance:
    """Describe an object whose text is just these bytes: what scanners write, and pydicom would not."""

    def element(tag: int, vr: bytes, value: bytes) -> bytes:
        value += b" " * (len(value) % 2)
        return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value

    whole = part10(mr_slice(PatientName="NAME", PatientID="ID", SpecificCharacterSet="ISO_IR 192"))
    for tag, vr, before, after in (
        (0x00080005, b"CS", b"ISO_IR 192", character_set),
        (0x00100010, b"PN", b"NAME", name),
        (0x00100020, b"LO", b"ID", patient_id),
    ):
        assert whole.count(element(tag, vr, before)) == 1
        whole = whole.replace(element(tag, vr, before), element(tag, vr, after))
    return instance_of(dcmread(io.BytesIO(whole), stop_before_pixels=True), issuer="", has_pixels=True)


def rejection_note(code: str = "113001", references: Iterable[tuple[str, str]] = ((STUDY, f"{SERIES}.1"),)) -> Dataset:
    """A Key Object Selection with this document title over (study, instance) pairs."""
    note = mr_slice(9, PixelData=None, Modality="KO")
    note.SOPClassUID = KeyObjectSelectionDocumentStorage
    title = Dataset()
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = code, "DCM", "whatever it says"
    note.ConceptNameCodeSequence = Sequence([title])
    note.CurrentRequestedProcedureEvidenceSequence = Sequence()
    for study_uid, instance_uid in references:
        study, series, instance = Dataset(), Dataset(), Dataset()
        instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = MRImageStorage, instance_uid
        series.SeriesInstanceUID, series.ReferencedSOPSequence = SERIES, Sequence([instance])
        study.StudyInstanceUID, study.ReferencedSeriesSequence = study_uid, Sequence([series])
        note.CurrentRequestedProcedureEvidenceSequence.append(study)
    return note


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
    assert in_bytes(character_set=b"NO SUCH SET", name=b"Doe^Jane").patient.name == "Doe^Jane"
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
    assert {fact.code for fact in found.order.facts} <= TOPICS
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


@pytest.mark.parametrize(
    ("character_set", "name", "read"),
    [
        (b"GB18030", "王^小东".encode("gb18030"), "王^小东"),
        (b"GB18030", "王^乗东=乛".encode("gb18030"), "王^乗东=乛"),  # second bytes that look like \\ and ^
        (b"\\ISO 2022 IR 87", b"Yamada^Tarou=" + "山田^太郎".encode("iso2022_jp"), "Yamada^Tarou=山田^太郎"),
        (b"ISO 2022 IR 13\\ISO 2022 IR 87", "ﾔﾏﾀﾞ=".encode("shift_jis") + "山田".encode("iso2022_jp"), "ﾔﾏﾀﾞ=山田"),
        (b"\\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C" + "洪".encode("euc_kr"), "Hong^Gildong=洪"),
        (b"\\ISO 2022 IR 58", b"Zhang=\x1b$)A" + "张".encode("gb2312"), "Zhang=张"),
        (b"", "Müller^Jürgen".encode("latin-1"), "Müller^Jürgen"),  # no standard says so, and most equipment means it
        (b"ISO_IR 144", "Люкceмбypг".encode("iso8859_5"), "Люкceмбypг"),
    ],
)
def test_a_name_in_any_character_set_is_read_as_it_was_meant(character_set: bytes, name: bytes, read: str):
    assert in_bytes(character_set=character_set, name=name).patient.name == read


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (b"NO SUCH SET", "Διονυσιος".encode("iso8859_7")),
        (b"NO SUCH SET", "王^小东".encode("gb18030")),
        (b"", "Люкceмбypг".encode("iso8859_5")),
        (b"ISO_IR 6", "Jürgen".encode()),
        (b"ISO_IR 192", "Jürgen".encode("latin-1")),
        (b"\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B\x3b"),
        (b"ISO_IR 100", b"Doe\x1b[31m^Jane"),
        (b"ISO_IR 100", b"Doe\r\nERROR"),
        (b"ISO_IR 100", b"A" * 65534),
    ],
)
def test_a_name_that_cannot_be_read_is_absent_and_not_guessed(character_set: bytes, name: bytes):
    found = in_bytes(character_set=character_set, name=name)
    assert found.patient.name == ""
    assert (found.patient.patient_id, found.modality) == ("P1", "MR")


def test_two_patient_ids_that_cannot_be_decoded_stay_two_and_identify_nobody():
    one, other = (in_bytes(character_set=b"ISO_IR 192", patient_id=raw).patient for raw in (b"M\xfc1", b"M\xe41"))
    assert one.patient_id != other.patient_id
    assert not one.is_identified
    assert in_bytes(character_set=b"GB18030", patient_id="号7".encode("gb18030")).patient.patient_id == "号7"


@pytest.mark.parametrize("title", RejectionTitle)
def test_a_rejection_note_names_its_title_and_each_instance_once(title: RejectionTitle):
    uids = [f"{SERIES}.1", f"{SERIES}.2", f"{SERIES}.1"]
    found = described(rejection_note(title, [(STUDY, uid) for uid in uids])).rejects
    assert found is not None
    assert found.title is title
    assert found.references == tuple(Reference(study_instance_uid=STUDY, sop_instance_uid=uid) for uid in uids[:2])
    assert found.left_out == 0


def test_other_key_objects_and_other_documents_reject_nothing():
    assert described(rejection_note("113000")).rejects is None
    assert described(mr_slice()).rejects is None
    foreign = rejection_note()
    foreign.ConceptNameCodeSequence[0].CodingSchemeDesignator = "99ACME"
    assert described(foreign).rejects is None
    no_note = rejection_note()
    no_note.SOPClassUID = MRImageStorage
    assert described(no_note).rejects is None


def test_references_that_are_no_uids_and_too_many_are_counted_and_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("node.receive.fields.MOST_REFERENCES", 2)
    assert MOST_REFERENCES > 5000
    found = described(rejection_note(references=[(STUDY, uid) for uid in ("1.2.1", "../x", "1.2.2", "1.2.3")])).rejects
    assert found is not None
    assert ([each.sop_instance_uid for each in found.references], found.left_out) == (["1.2.1", "1.2.2"], 2)
