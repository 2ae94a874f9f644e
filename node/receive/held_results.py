"""Results that a peer may pull, matched against an identifier, and the answers that tell of them (PS3.4 §C.6.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.errors import InvalidDicomError
from pynetdicom.dsutils import encode

from node.config import Peer, Settings
from node.domain.patient import UNDECODABLE, Patient
from node.errors import Refused
from node.receive.fields import text
from node.receive.identifier import UNIQUE_KEYS, Identifier
from node.receive.status import TOO_MANY_MATCHES, UNABLE_TO_PROCESS
from node.store import studies
from node.store.database import Database
from node.store.studies import StudyRow
from node.workflow.pulling import Pullable, may_have, pullable

#: Studies of one query, and instances that one retrieval may name.
MOST_STUDIES = 200
#: One of these says of whom or what; without them everybody could be listed.
_NARROWING = ("StudyInstanceUID", "AccessionNumber", "PatientID")
#: Of an object, besides what is asked for: whom it names, and where it belongs.
_NEEDED = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "Modality")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """One result with the header of its file."""

    result: Pullable
    study: StudyRow
    header: Dataset


def found(db: Database, settings: Settings, peer: Peer, asked: Identifier) -> list[Found]:
    """Every result that matches and that the peer may have now.

    Raises:
        Refused: 0xC001, the query names nobody; 0xA700, it matches too much; 0xA900, a UID is none.
    """
    rows = _studies(db, peer, asked)
    matches: list[Found] = []
    for study in rows:
        results = pullable(db, peer, study.study_instance_uid)
        headers = ((each, _header(db, each, asked)) for each in results)
        matches += [
            Found(result=each, study=study, header=header)
            for each, header in headers
            if header is not None
            and _is_meant(asked, each, header)
            and may_have(db, settings, peer, each, patient_of(header))
        ]
    return matches


def answers(asked: Identifier, matches: Sequence[Found], our_ae_title: str) -> Iterator[Dataset]:
    """One answer a study, series or instance, with what was asked for as far as it is known."""
    groups: dict[str, list[Found]] = {}
    for each in matches:
        key = {
            "STUDY": each.study.study_instance_uid,
            "SERIES": each.result.artifact.series_instance_uid or text(each.header, "SeriesInstanceUID"),
            "IMAGE": each.result.artifact.sop_instance_uid,
        }[asked.level]
        groups.setdefault(key, []).append(each)
    for uid, members in groups.items():
        known = _known(asked.level, members)
        known[UNIQUE_KEYS[asked.level]] = uid
        made = Dataset()
        made.SpecificCharacterSet = "ISO_IR 192"
        made.QueryRetrieveLevel = asked.level
        made.RetrieveAETitle = our_ae_title
        made.InstanceAvailability = "ONLINE"
        made.StudyInstanceUID = members[0].study.study_instance_uid
        for keyword in (*asked.keys, UNIQUE_KEYS[asked.level]):
            tag = tag_for_keyword(keyword)
            if tag is None or keyword in made or dictionary_VR(tag) == "SQ":
                continue
            if keyword in known:
                setattr(made, keyword, known[keyword])
            elif asked.level != "STUDY" and keyword in members[0].header:
                made.add(members[0].header[keyword])
            else:
                made.add_new(tag, dictionary_VR(tag), None)
        yield made


def encoded(dataset: Dataset, transfer_syntax_uid: str) -> bytes:
    """An identifier in the transfer syntax of its presentation context."""
    is_implicit = transfer_syntax_uid == "1.2.840.10008.1.2"
    content = encode(dataset, is_implicit, transfer_syntax_uid != "1.2.840.10008.1.2.2")
    if content is None:
        raise Refused(UNABLE_TO_PROCESS, "an answer cannot be encoded")
    return content


def patient_of(header: Dataset) -> Patient:
    """Whom a result names."""
    return Patient(
        patient_id=text(header, "PatientID"),
        issuer=text(header, "IssuerOfPatientID"),
        name=text(header, "PatientName"),
        birth_date=text(header, "PatientBirthDate"),
        sex=text(header, "PatientSex"),
    )


def _known(level: str, members: Sequence[Found]) -> dict[str, object]:
    study = members[0].study
    patient, order = study.patient, study.order
    modalities = sorted({text(each.header, "Modality") for each in members})
    known: dict[str, object] = {
        "PatientName": patient.name,
        "PatientID": patient.patient_id,
        "IssuerOfPatientID": patient.issuer,
        "PatientBirthDate": patient.birth_date,
        "PatientSex": patient.sex,
        "StudyDate": order.study_date,
        "StudyTime": order.study_time,
        "StudyID": order.study_id,
        "StudyDescription": order.study_description,
        "AccessionNumber": order.accession_number,
    }
    if level == "STUDY":
        known["ModalitiesInStudy"] = modalities
        known["NumberOfStudyRelatedInstances"] = len(members)
        known["NumberOfStudyRelatedSeries"] = len({each.result.artifact.series_instance_uid for each in members})
    if level == "SERIES":
        known["NumberOfSeriesRelatedInstances"] = len(members)
    return known


def _studies(db: Database, peer: Peer, asked: Identifier) -> list[StudyRow]:
    """The studies that are meant: by UID, accession number or patient; never everybody's."""
    uids, accession, patient_id = (
        asked.uids("StudyInstanceUID"),
        asked.exact("AccessionNumber"),
        asked.exact("PatientID"),
    )
    if not (uids or accession or Patient(patient_id=patient_id).is_identified):
        raise Refused(UNABLE_TO_PROCESS, f"name one of {', '.join(_NARROWING)}")
    rows = studies.matching(db, uids=uids, accession_number=accession, patient_id=patient_id, limit=MOST_STUDIES + 1)
    if len(rows) > MOST_STUDIES:
        raise Refused(TOO_MANY_MATCHES, f"more than {MOST_STUDIES} studies match")
    issuer = asked.exact("IssuerOfPatientID") or (peer.issuer if patient_id else "")
    return [row for row in rows if _is_study_meant(asked, row, issuer)]


def _is_study_meant(asked: Identifier, row: StudyRow, issuer: str) -> bool:
    patient = row.patient
    if issuer and patient.issuer and issuer != patient.issuer:
        return False
    for keyword, value in (("PatientBirthDate", patient.birth_date), ("PatientSex", patient.sex)):
        if (wanted := asked.exact(keyword)) and wanted != value:
            return False
    name = asked.keys.get("PatientName", "")
    if UNDECODABLE in name:
        raise Refused(UNABLE_TO_PROCESS, "PatientName is only compared where it is ASCII")
    if name and not fnmatchcase(patient.name.upper(), name.upper().replace("[", "[[]")):
        return False
    first, dash, last = asked.keys.get("StudyDate", "").partition("-")
    last = last if dash else first
    return (not first or row.order.study_date >= first) and (not last or row.order.study_date <= last)


def _is_meant(asked: Identifier, result: Pullable, header: Dataset) -> bool:
    series, instances = asked.uids("SeriesInstanceUID"), asked.uids("SOPInstanceUID")
    modality = asked.exact("ModalitiesInStudy" if asked.level == "STUDY" else "Modality")
    classes = asked.uids("SOPClassUID") if asked.level == "IMAGE" else ()
    return (
        (not series or text(header, "SeriesInstanceUID") in series)
        and (not instances or result.artifact.sop_instance_uid in instances)
        and (not modality or text(header, "Modality") == modality)
        and (not classes or result.artifact.sop_class_uid in classes)
    )


def _header(db: Database, result: Pullable, asked: Identifier) -> Dataset | None:
    """What is asked for, of the file; `None` where that is gone."""
    wanted = [each for each in (*asked.keys, "SeriesInstanceUID", *_NEEDED) if each != "PixelData"]
    try:
        return dcmread(db.folder / result.artifact.path, stop_before_pixels=True, specific_tags=wanted)
    except (OSError, InvalidDicomError):
        return None
