"""What is left of a person in an object after the profile: nothing, at any depth; and what has to stay, stays."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset, FileMetaDataset, Sequence, dcmread
from pydicom.config import disable_value_validation
from pydicom.datadict import tag_for_keyword
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from node.errors import Failed
from node.learn.deidentify.identities import Identity, Sought
from node.learn.deidentify.leaks import kinds_in
from node.learn.deidentify.profile import Options, Subject, deidentified
from node.learn.deidentify.pseudonyms import Pseudonyms
from node.learn.deidentify.table import Action, table

KEY = bytes(range(32))
PSEUDONYMS = Pseudonyms(KEY)
STUDY, SERIES, FRAME, IMAGE = (f"1.2.826.0.1.{number}" for number in (11, 12, 13, 14))
WHO = Identity(
    names=frozenset({"Nepomuk^Erika"}),
    patient_ids=frozenset({"KH-4711"}),
    birth_dates=frozenset({"19700312"}),
    accession_numbers=frozenset({"ACC20254711"}),
    uids=frozenset({STUDY, SERIES, FRAME, IMAGE}),
)
SUBJECT = Subject(pseudonym=PSEUDONYMS.patient("KH-4711", "A"), days=40_000, identity=Sought([WHO], strict=True))

#: Rows of PS3.15 Table E.1-1 (2026c), column "Basic Prof.", read in the standard: attribute → the codes it allows.
ROWS = {
    "PatientName": "Z", "PatientID": "Z/D", "PatientBirthDate": "Z", "PatientBirthTime": "X", "PatientSex": "Z",
    "PatientAge": "X", "PatientSize": "X", "PatientWeight": "X", "EthnicGroup": "X", "OtherPatientIDs": "X",
    "OtherPatientNames": "X", "OtherPatientIDsSequence": "X", "PatientAddress": "X", "PatientMotherBirthName": "X",
    "PatientTelephoneNumbers": "X", "PatientComments": "X", "AdditionalPatientHistory": "X", "Allergies": "X",
    "IssuerOfPatientID": "X", "AccessionNumber": "Z", "StudyID": "Z", "ReferringPhysicianName": "Z",
    "InstitutionName": "X/Z/D", "InstitutionAddress": "X", "StationName": "X/Z/D", "OperatorsName": "X/Z/D",
    "PerformingPhysicianName": "X", "NameOfPhysiciansReadingStudy": "X", "StudyDescription": "X",
    "SeriesDescription": "X", "ProtocolName": "X/D", "ImageComments": "X", "DeviceSerialNumber": "X/Z/D",
    "DerivationDescription": "X", "RequestAttributesSequence": "X", "OriginalAttributesSequence": "X",
    "IconImageSequence": "X", "StudyDate": "Z", "SeriesDate": "X/D", "AcquisitionDate": "X/Z", "ContentDate": "Z/D",
    "StudyInstanceUID": "U", "SeriesInstanceUID": "U", "SOPInstanceUID": "U", "FrameOfReferenceUID": "U",
    "ReferencedSOPInstanceUID": "U", "ReferencedImageSequence": "X/Z/U*", "SourceImageSequence": "X/Z/U*",
    "PersonName": "D", "UnformattedTextValue": "D", "UID": "U", "TrackingUID": "U", "TimezoneOffsetFromUTC": "X",
}  # fmt: skip
ALLOWED = {Action.REMOVED: "X", Action.EMPTIED: "Z", Action.REPLACED: "D", Action.UID: "U", Action.CLEANED: "U*"}


def code(value: str = "12738006", meaning: str = "Brain") -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, "SCT", meaning
    return made


def reference(uid: str = IMAGE) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = MRImageStorage, uid
    made.PurposeOfReferenceCodeSequence = [code()]
    return made


@pytest.fixture(autouse=True)
def unchecked() -> Iterator[None]:
    """Values are written as they come."""
    with disable_value_validation():
        yield


def told(**changes: object) -> Dataset:
    """An image that tells of its patient wherever it can."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.SourceApplicationEntityTitle = "NEPOMUK"
    made.preamble = b"Nepomuk" + bytes(121)
    made.SpecificCharacterSet = "ISO_IR 100"
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = MRImageStorage, IMAGE, "MR"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = STUDY, SERIES, FRAME
    made.PatientName, made.PatientID, made.PatientSex = "Nepomuk^Erika", "KH-4711", "F"
    made.PatientBirthDate = "19700312"
    made.AccessionNumber, made.StudyID, made.IssuerOfPatientID = "ACC20254711", "4711", "A"
    made.StudyDate, made.SeriesDate, made.StudyTime = "20260110", "20260111", "101112.5"
    made.AcquisitionDateTime = "20260110101112.5+0100"
    made.InstitutionName, made.Manufacturer, made.ManufacturerModelName = "St. Elsewhere", "ACME", "Magnet"
    made.SeriesDescription, made.StudyDescription = "T1 MPRAGE sag, Frau Nepomuk 12.3.70", "Brain KH-4711"
    # The profile says nothing of these: a text of a person all the same.
    made.SequenceName, made.KVP, made.ScanOptions = "nepomuk_t1", "120", "ERIKA"
    made.ImagePositionPatient, made.PixelSpacing, made.Rows, made.Columns = [0, 0, 1], [1, 1], 2, 2
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 7, 0, 1
    made.PhotometricInterpretation, made.PixelData = "MONOCHROME2", b"\1\2\3\4"
    made.SourceImageSequence = [reference()]
    made.ReferencedImageSequence = Sequence([reference("1.2.826.0.1.99")])
    made.ReferencedImageSequence[0].private_block(0x0011, "NEPOMUK", create=True).add_new(1, "LO", "Erika")
    made.AnatomicRegionSequence = [code(meaning="Brain of Nepomuk"), code()]
    made.private_block(0x0009, "ACME", create=True).add_new(1, "PN", "Nepomuk^Erika")
    made.add_new(0x60003000, "OW", b"\0" * 2)
    made.add_new(0x60000010, "US", 2)
    made.add_new(0x50000010, "US", 2)
    made.add_new(0x00201070, "IS", "4711")
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return written(made)


def written(dataset: Dataset) -> Dataset:
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    stream.seek(0)
    return dcmread(stream)


def cleaned(options: Options | None = None, **changes: object) -> Dataset:
    return deidentified(told(**changes), SUBJECT, PSEUDONYMS, options or Options())


@pytest.mark.parametrize("keyword", ROWS)
def test_the_table_is_the_standards(keyword: str) -> None:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    assert ALLOWED[table().rows[tag]] in ROWS[keyword].split("/")


def test_the_table_is_whole() -> None:
    assert len(table().rows) > 600
    assert table().groups == ((0x5000, 0xFF00), (0x6000, 0xFF00))


@pytest.mark.parametrize("options", [Options(), Options(dates=False, characteristics=False, descriptors=False)])
def test_nothing_of_the_person_is_left_at_any_depth(options: Options) -> None:
    stream = BytesIO()
    before = BytesIO()
    told().save_as(before, enforce_file_format=True)
    assert len(kinds_in(before.getvalue(), Sought([WHO]))) == 5
    made = cleaned(options)
    made.save_as(stream, enforce_file_format=True)
    content = stream.getvalue()
    assert kinds_in(content, Sought([WHO], strict=True)) == set()
    for word in (b"epomuk", b"EPOMUK", b"rika", b"4711", b"St. Else", b"202601"):
        assert word not in content
    assert not any(element.tag.is_private for element in made.iterall())
    assert not any(element.tag.group in (0x5000, 0x6000) for element in made)


def test_what_is_needed_to_learn_stays() -> None:
    made = cleaned()
    assert (made.Modality, made.Manufacturer, made.ManufacturerModelName, made.Rows) == ("MR", "ACME", "Magnet", 2)
    assert made.PixelData == b"\1\2\3\4"
    assert (made.PatientSex, made.PatientAge, made.PatientID) == ("F", "055Y", SUBJECT.pseudonym)
    assert (made.SeriesDescription, made.StudyDescription) == ("t1 mprage sag", "brain")
    assert [each.get("CodeMeaning") for each in made.AnatomicRegionSequence] == [None, "Brain"]


def test_intervals_between_dates_stay_and_the_dates_do_not() -> None:
    made = cleaned()
    assert (made.StudyDate, made.SeriesDate, made.StudyTime) == ("19160706", "19160707", "101112.5")
    assert made.AcquisitionDateTime == "19160706101112.5+0100"
    assert made.LongitudinalTemporalInformationModified == "MODIFIED"
    without = cleaned(Options(dates=False))
    assert (without.StudyDate, "SeriesDate" in without, without.StudyTime) == ("", False, "")
    assert without.LongitudinalTemporalInformationModified == "REMOVED"


def test_dates_that_are_none_go() -> None:
    damaged = told(AcquisitionDate="20261301")
    made = deidentified(damaged, SUBJECT, PSEUDONYMS, Options())
    assert "AcquisitionDate" not in made


def test_it_says_how_it_was_done() -> None:
    made = cleaned()
    assert made.PatientIdentityRemoved == "YES"
    said = [each.CodeValue for each in made.DeidentificationMethodCodeSequence]
    assert said == ["113100", "113105", "113107", "113108"]
    bare = cleaned(Options(dates=False, characteristics=False, descriptors=False))
    assert [each.CodeValue for each in bare.DeidentificationMethodCodeSequence] == ["113100"]
    assert "dicom-anonymizer" in made.DeidentificationMethod[1]
    assert ("PatientAge" in bare, bare.PatientSex, "SeriesDescription" in bare) == (False, "", False)


def test_one_uid_becomes_one_uid_wherever_it_stands_and_kinds_keep_theirs() -> None:
    made, again = cleaned(), cleaned()
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == made.SOPInstanceUID == PSEUDONYMS.uid(IMAGE)
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
    assert made.SourceImageSequence[0].ReferencedSOPClassUID == made.SOPClassUID == MRImageStorage
    assert made.StudyInstanceUID == again.StudyInstanceUID
    other = Pseudonyms(bytes(32))
    assert deidentified(told(), SUBJECT, other, Options()).StudyInstanceUID != made.StudyInstanceUID
    assert len({PSEUDONYMS.uid(each) for each in (STUDY, SERIES, FRAME, IMAGE)}) == 4


def test_a_uid_of_no_row_of_the_table_is_replaced_too() -> None:
    inner = Dataset()
    inner.ReferencedSOPInstanceUID, inner.ReferencedSOPClassUID = IMAGE, MRImageStorage
    made = cleaned(FrameOfReferenceTransformationMatrix=None, ReferencedInstanceSequence=[inner], SpecimenUID=IMAGE)
    assert made.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == PSEUDONYMS.uid(IMAGE)
    assert made.SpecimenUID == PSEUDONYMS.uid(IMAGE)


def test_the_same_patient_is_the_same_person_and_another_issuers_is_another() -> None:
    assert PSEUDONYMS.patient("1", "A") == PSEUDONYMS.patient("1", "A")
    assert len({PSEUDONYMS.patient("1", "A"), PSEUDONYMS.patient("1", "B"), PSEUDONYMS.patient("1A", "")}) == 3
    assert PSEUDONYMS.days("1", "A") == PSEUDONYMS.days("1", "A") > 36_524
    assert "4711" not in PSEUDONYMS.patient("4711", "A")


@pytest.mark.parametrize(("age", "shown"), [("089Y", "089Y"), ("095Y", "090Y"), ("006M", "006M")])
def test_the_very_old_are_one_group(age: str, shown: str) -> None:
    assert cleaned(PatientAge=age).PatientAge == shown


def test_an_object_that_does_not_say_what_it_is_is_refused() -> None:
    lacking = told()
    del lacking.SOPClassUID
    with pytest.raises(Failed, match="does not say what it is"):
        deidentified(lacking, SUBJECT, PSEUDONYMS, Options())


def test_a_value_that_cannot_be_read_goes() -> None:
    broken: Any = told(AcquisitionMatrix=[1, 2, 3, 4])
    raw = broken.get_item("AcquisitionMatrix")
    broken._dict[raw.tag] = raw._replace(value=b"\1", length=1)
    assert "AcquisitionMatrix" not in deidentified(broken, SUBJECT, PSEUDONYMS, Options())
