"""Work that others ask of us by a Unified Procedure Step: how far each has come, and what we say of it (PS3.4 CC).

Attributes are those of `domain/dicom_json`; nothing here asks anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from node.domain.dicom_json import Attributes, coded, element, items, text, texts
from node.domain.patient import Patient
from node.domain.uid import is_usable_uid
from node.domain.ups_attributes import (
    BIRTH_DATE,
    CANCELLATION_TIME,
    DISCONTINUATION_REASON,
    INPUT,
    ISSUER_OF_PATIENT_ID,
    PATIENT_ID,
    PATIENT_NAME,
    PERFORMED,
    PROGRESS,
    REASON_FOR_CANCELLATION,
    SEX,
    STATION_NAMES,
    STUDY_INSTANCE_UID,
    WORKITEM_CODE,
)

_CODE, _SCHEME = "00080100", "00080102"
_REFERENCED_SOP, _SOP_CLASS, _SOP_INSTANCE = "00081199", "00081150", "00081155"
_RETRIEVAL, _RETRIEVE_AE = "0040E021", "00080054"
_DESTINATION, _STORAGE, _DESTINATION_AE = "00404070", "00404071", "21000140"


class PerformanceState(StrEnum):
    """Where a piece of work stands."""

    #: It is meant for us; the Transaction UID is kept, and whether the step is claimed by it is not known yet.
    OFFERED = "offered"
    #: The step is IN PROGRESS by our Transaction UID.
    CLAIMED = "claimed"
    #: Its images are asked of an archive, or still come.
    FETCHING = "fetching"
    #: Models read the study.
    READING = "reading"
    #: Results are on their way.
    DELIVERING = "delivering"
    #: All is done; the manager has still to hear of it.
    COMPLETING = "completing"
    #: It is given up; the manager has still to hear of it.
    CANCELING = "canceling"
    COMPLETED = "completed"
    CANCELED = "canceled"
    #: The step is not ours: another performer has it, or its manager has ended it.
    LOST = "lost"

    @property
    def is_over(self) -> bool:
        """Whether it changes no more."""
        return not PERFORMANCE_MOVES[self]

    @property
    def works(self) -> bool:
        """Whether the step is ours and the work is going on."""
        return self in _WORKS


_P = PerformanceState
_WORKS = frozenset({_P.CLAIMED, _P.FETCHING, _P.READING, _P.DELIVERING})
_ENDS = frozenset({_P.CANCELING, _P.LOST})

PERFORMANCE_MOVES: dict[PerformanceState, frozenset[PerformanceState]] = {
    _P.OFFERED: frozenset({_P.CLAIMED, _P.LOST}),
    _P.CLAIMED: frozenset({_P.FETCHING, _P.READING}) | _ENDS,
    _P.FETCHING: frozenset({_P.READING}) | _ENDS,
    # Back: images have come late.
    _P.READING: frozenset({_P.FETCHING, _P.DELIVERING}) | _ENDS,
    _P.DELIVERING: frozenset({_P.READING, _P.COMPLETING}) | _ENDS,
    _P.COMPLETING: frozenset({_P.COMPLETED, _P.LOST}),
    _P.CANCELING: frozenset({_P.CANCELED, _P.LOST}),
    _P.COMPLETED: frozenset(),
    _P.CANCELED: frozenset(),
    _P.LOST: frozenset(),
}

#: Percent done, and words, by which the manager is told how far it is.
PROGRESS_OF: dict[PerformanceState, tuple[int, str]] = {
    _P.CLAIMED: (0, "claimed"),
    _P.FETCHING: (10, "images are being retrieved"),
    _P.READING: (40, "models read the study"),
    _P.DELIVERING: (80, "results are being stored"),
}


class GivenUp(StrEnum):
    """Why a step is given up: PS3.16 CID 9300, all of DCM."""

    EQUIPMENT_FAILURE = "110501"
    UNSPECIFIED = "110513"
    WRONG_ENTRY = "110514"
    TYPES_NOT_SUPPORTED = "110522"
    INPUT_INCOMPLETE = "110523"
    RESOURCE_INADEQUATE = "110527"


_MEANINGS = {
    GivenUp.EQUIPMENT_FAILURE: "Equipment failure",
    GivenUp.UNSPECIFIED: "Discontinued for unspecified reason",
    GivenUp.WRONG_ENTRY: "Incorrect worklist entry selected",
    GivenUp.TYPES_NOT_SUPPORTED: "Object Types not supported",
    GivenUp.INPUT_INCOMPLETE: "Object Set incomplete",
    GivenUp.RESOURCE_INADEQUATE: "Resource inadequate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a step asks for."""

    #: Empty where it names no study, or several without saying which.
    study_instance_uid: str
    #: As far as it says whom it is about; nobody where it does not.
    patient: Patient
    #: (value, scheme designator) of its workitem codes; values of its station name codes.
    codes: tuple[tuple[str, str], ...]
    stations: tuple[str, ...]
    #: SOP Instance UIDs of the study that are named as input; none: the study as a whole.
    instances: frozenset[str]
    #: AE titles that give the input, and to which results are to be sent.
    sources: tuple[str, ...]
    destinations: tuple[str, ...]


def asked_of(step: Mapping[str, Any]) -> Asked:
    """Read what a step asks for; what is no UID counts as not said."""
    inputs = items(step, INPUT)
    named = dict.fromkeys(uid for each in inputs if is_usable_uid(uid := text(each, STUDY_INSTANCE_UID)))
    study = text(step, STUDY_INSTANCE_UID)
    if not is_usable_uid(study) or (named and study not in named):
        study = next(iter(named)) if len(named) == 1 else ""
    mine = [each for each in inputs if text(each, STUDY_INSTANCE_UID) in ("", study)]
    references = [reference for each in mine for reference in items(each, _REFERENCED_SOP)]
    retrievals = [way for each in mine for way in items(each, _RETRIEVAL)]
    storages = [way for each in items(step, _DESTINATION) for way in items(each, _STORAGE)]
    return Asked(
        study_instance_uid=study,
        patient=Patient(
            patient_id=text(step, PATIENT_ID),
            issuer=text(step, ISSUER_OF_PATIENT_ID),
            name=text(step, PATIENT_NAME),
            birth_date=text(step, BIRTH_DATE),
            sex=text(step, SEX),
        ),
        codes=tuple((text(each, _CODE), text(each, _SCHEME)) for each in items(step, WORKITEM_CODE)),
        stations=tuple(text(each, _CODE) for each in items(step, STATION_NAMES)),
        instances=frozenset(text(each, _SOP_INSTANCE) for each in references) - {""},
        sources=tuple(dict.fromkeys(title for way in retrievals for title in texts(way, _RETRIEVE_AE))),
        destinations=tuple(dict.fromkeys(title for way in storages for title in texts(way, _DESTINATION_AE))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One result, and where it lies."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    #: AE titles of those that have it.
    held_by: tuple[str, ...]


def progress(state: PerformanceState) -> Attributes:
    """What the manager is told on the way."""
    percent, words = PROGRESS_OF[state]
    return {PROGRESS: element("SQ", {"00741004": element("DS", percent), "00741006": element("ST", words)})}


def performed(
    *, station: str, codes: Sequence[tuple[str, str]], begun: str, ended: str, outputs: Sequence[Output]
) -> Attributes:
    """What the manager is told at the end: by whom, what, when (DT), and the results (PS3.4 Table CC.2.5-3)."""
    worked = [coded(value, scheme, value) for value, scheme in codes if value and scheme]
    item = {
        "00404028": element("SQ", coded(station, "99MATINS", "Matins")),
        "00404019": element("SQ", *(worked or [coded("110004", "DCM", "Computer Aided Diagnosis")])),
        "00404050": element("DT", begun),
        "00404051": element("DT", ended),
        "00404033": element("SQ", *_output(outputs)),
    }
    done = {"00741004": element("DS", 100), "00741006": element("ST", f"{len(outputs)} result(s)")}
    return {PERFORMED: element("SQ", item), PROGRESS: element("SQ", done)}


def given_up(code: str, reason: str, *, at: str) -> Attributes:
    """What the manager is told of a step that is given up, and when (DT)."""
    why = GivenUp(code)
    item = {
        "00741006": element("ST", reason[:1024]),
        CANCELLATION_TIME: element("DT", at),
        REASON_FOR_CANCELLATION: element("LT", reason),
        DISCONTINUATION_REASON: element("SQ", coded(why, "DCM", _MEANINGS[why])),
    }
    return {PROGRESS: element("SQ", item)}


def _output(outputs: Sequence[Output]) -> list[Attributes]:
    """One item a series and place (PS3.3 Table 10-3b)."""
    series: dict[tuple[str, str, tuple[str, ...]], list[Attributes]] = {}
    for each in outputs:
        reference = {_SOP_CLASS: element("UI", each.sop_class_uid), _SOP_INSTANCE: element("UI", each.sop_instance_uid)}
        series.setdefault((each.study_instance_uid, each.series_instance_uid, each.held_by), []).append(reference)
    return [
        {
            "0040E020": element("CS", "DICOM"),
            STUDY_INSTANCE_UID: element("UI", study),
            "0020000E": element("UI", uid),
            _REFERENCED_SOP: element("SQ", *references),
            _RETRIEVAL: element("SQ", *({_RETRIEVE_AE: element("AE", title)} for title in held_by)),
        }
        for (study, uid, held_by), references in series.items()
    ]
