"""UPS: a manager of Unified Procedure Steps is asked to have each study read and told where it stands (PS3.4 CC).

The UID of a step is derived from study and route: whoever asks again after a lost answer finds the step that is there.
What may not be changed in a step (patient, order) is part of it too: another patient is another step, and the first is
canceled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from node.config import DeliverSettings, Peer, Route
from node.deliver.carriage import Unreachable, answer_limit_s, opening_limit_s
from node.deliver.dialogue import NotOffered, dialogue
from node.deliver.route_steps import Steps
from node.deliver.routes import Heard, Letter, Reply
from node.domain.dicom_json import Attributes, coded, element
from node.domain.notice import Flag, NoticeKind
from node.domain.priority import UPS_PRIORITY
from node.domain.uid import derived_uid
from node.domain.ups import PULL, PUSH, UpsState, UpsStatus
from node.domain.ups_attributes import (
    BIRTH_DATE,
    COMMENTS,
    DISCONTINUATION_REASON,
    ISSUER_OF_PATIENT_ID,
    PARAMETERS,
    PATIENT_ID,
    PATIENT_NAME,
    PRIORITY,
    READINESS,
    REASON_FOR_CANCELLATION,
    REFERENCED_REQUEST,
    SEX,
    START,
    STATE,
    STEP_LABEL,
    STUDY_INSTANCE_UID,
    WORKITEM_CODE,
    WORKLIST_LABEL,
    completed_creation,
    of_patient,
    of_request,
)
from node.errors import Unsuitable

KIND = "ups"
#: Not to be set once the step is there (PS3.4 Table CC.2.5-3).
_FIXED = (
    *(PATIENT_NAME, PATIENT_ID, ISSUER_OF_PATIENT_ID, BIRTH_DATE, SEX, STUDY_INSTANCE_UID, REFERENCED_REQUEST),
)  # fmt: skip
#: What of a step follows the study.
_FOLLOWS = (PRIORITY, STEP_LABEL, COMMENTS, PARAMETERS)
#: Steps of one study of which somebody there has canceled each: then it is told to a person.
_MOST_STEPS = 5
_LONGEST_LABEL, _LONGEST_COMMENT = 64, 10240
_NOTE = "Research software, not a medical device. Preliminary; the radiologist's report alone counts."
#: It has none with this UID: said by the service class, or in general (PS3.7 §C.5.7).
_UNKNOWN = (UpsStatus.NO_SUCH_UPS, 0x0112)
_READ = "it has been read there"
_CLAIMED = "it is being read there: the step says what it said when it was claimed"


def check(route: Route) -> None:
    """Nothing lies in files."""


def message(route: Route, letter: Letter) -> bytes:
    """What is asked for, as JSON: the step's UID comes of `seed` and `number`; `retired` are others to cancel.

    Raises:
        Unsuitable: it is no place of a study.
    """
    if letter.flag.kind is not NoticeKind.RANK:
        raise Unsuitable("a manager of steps is told where studies stand, and of nothing else")
    flag, before = letter.flag, json.loads(letter.told) if letter.told else None
    attributes = _attributes(route, letter)
    fixed = json.dumps([attributes[tag] for tag in _FIXED], sort_keys=True)
    seed = hashlib.sha256(f"{letter.filler_number}\0{fixed}".encode()).hexdigest()
    number, retired = 1, []
    if before is not None:
        retired = [each for each in [*before["retired"], [before["seed"], before["number"]]] if each[0] != seed]
        if before["seed"] == seed:
            number = before["number"] + (1 if before["over"] and not flag.over else 0)
    said = {
        "seed": seed,
        "number": number,
        "retired": retired[-_MOST_STEPS:],
        "over": "this was a trial" if letter.trial else flag.over,
        "trial": letter.trial,
        "attributes": attributes,
    }
    return json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


@contextmanager
def opened(route: Route, patience: DeliverSettings) -> Iterator[Manager]:
    """Hold an association.

    Raises (on entering):
        Unreachable: nobody answers, nobody is let in, or it takes no steps.
    """
    assert route.ae_title is not None
    assert route.port is not None
    peer = Peer(name=route.name, ae_title=route.ae_title, host=route.host, port=route.port)
    limits = patience.model_copy(update={"dimse_s": route.answer_s})
    with dialogue(peer, route.calling_ae_title or "MATINS", limits, [PUSH, PULL]) as open_dialogue:
        if not open_dialogue.accepts(PUSH):
            raise Unreachable(f"{route.name} does not offer UPS Push: enable it there", by_configuration=True)
        yield Manager(Steps(open_dialogue, route.name, limit_s=route.answer_s), route.name)


def limit_s(route: Route, patience: DeliverSettings) -> float:
    """How long opening, and one message, may take each, seconds."""
    limits = patience.model_copy(update={"dimse_s": route.answer_s})
    return opening_limit_s(limits) + 4 * _MOST_STEPS * answer_limit_s(limits, 0)


class Manager:
    """A manager of steps."""

    def __init__(self, steps: Steps, name: str) -> None:
        self._steps = steps
        self._name = name

    def send(self, message: bytes, control_id: str, at: datetime) -> Reply:  # noqa: ARG002
        """Ask for a step, bring it up to date, or ask that it be canceled.

        Raises:
            Lost: no answer came; the manager may have heard or not.
            Unreachable: nobody is let in.
        """
        told = json.loads(message)
        try:
            for seed, number in told["retired"]:
                reply = self._end(seed, number, "it names another patient or order than the study does")
                if reply.heard is not Heard.ACKNOWLEDGED:
                    return reply
            if told["trial"]:
                reply = self._stand(told["seed"], told["number"], told["attributes"])
                return reply if reply.heard is not Heard.ACKNOWLEDGED else self._end_of(told)
            return self._end_of(told) if told["over"] else self._stand(told["seed"], told["number"], told["attributes"])
        except NotOffered as error:
            raise Unreachable(str(error), by_configuration=True) from error

    def _end_of(self, told: dict[str, Any]) -> Reply:
        return self._end(told["seed"], told["number"], told["over"])

    def _stand(self, seed: str, first: int, attributes: Attributes) -> Reply:
        """See that a step to read the study stands and says this, whatever of it is there already."""
        for number in range(first, first + _MOST_STEPS):
            uid = derived_uid("step to read", seed, number)
            status = self._steps.create(uid, attributes)
            if status != UpsStatus.DUPLICATE_SOP_INSTANCE:
                return self._steps.reply(status)
            reply = self._renewed(uid, attributes)
            if reply is not None:
                return reply
        return Reply(Heard.REFUSED, f"{self._name} has canceled {_MOST_STEPS} steps to read the study")

    def _renewed(self, uid: str, attributes: Attributes) -> Reply | None:
        """Bring a step that is there up to date; `None` where it is canceled, so that another is asked for."""
        state = self._steps.state(uid)
        if state in (None, UpsState.CANCELED):
            return None
        if state is not UpsState.SCHEDULED:
            return Reply(Heard.ACKNOWLEDGED, _READ if state is UpsState.COMPLETED else _CLAIMED)
        if not self._steps.can_be_set:
            status = self._steps.request_cancel(uid, _reason("it is asked for anew"))
            return None if status in (UpsStatus.SUCCESS, UpsStatus.ALREADY_CANCELED) else self._steps.reply(status)
        status = self._steps.set(uid, {tag: attributes[tag] for tag in _FOLLOWS})
        if status in (UpsStatus.WRONG_TRANSACTION_UID, UpsStatus.MAY_NO_LONGER_BE_UPDATED):
            return Reply(Heard.AGAIN, f"{self._name} has moved the step meanwhile")
        return self._steps.reply(status)

    def _end(self, seed: str, first: int, reason: str) -> Reply:
        """See that no step of a study waits to be claimed."""
        for number in range(first, first + _MOST_STEPS):
            status = self._steps.request_cancel(derived_uid("step to read", seed, number), _reason(reason))
            if status in _UNKNOWN:
                break
            if status in (UpsStatus.COMPLETED_ALREADY, UpsStatus.PERFORMER_OUT_OF_REACH):
                out_of_reach = status == UpsStatus.PERFORMER_OUT_OF_REACH
                return Reply(Heard.ACKNOWLEDGED, "whoever claimed it cannot be asked" if out_of_reach else _READ)
            if status != UpsStatus.ALREADY_CANCELED:
                return self._steps.reply(status)
        return Reply(Heard.ACKNOWLEDGED)


def _reason(text: str) -> Attributes:
    unspecified = coded("110513", "DCM", "Discontinued for unspecified reason")  # PS3.16 CID 9300
    return {REASON_FOR_CANCELLATION: element("LT", text), DISCONTINUATION_REASON: element("SQ", unspecified)}


def _attributes(route: Route, letter: Letter) -> Attributes:
    flag, patient = letter.flag, letter.flag.patient
    trial = "Trial of Matins: nothing to read"
    label = trial if letter.trial else " ".join(filter(None, ("Read", flag.modality, flag.study_description)))
    said = {
        STATE: element("CS", UpsState.SCHEDULED),
        **of_patient(patient),
        STUDY_INSTANCE_UID: element("UI", flag.study_instance_uid),
        **of_request(flag.study_instance_uid, flag.accession_number),
        PRIORITY: element("CS", UPS_PRIORITY[flag.lane]),
        WORKLIST_LABEL: element("LO", route.worklist_label),
        STEP_LABEL: element("LO", label[:_LONGEST_LABEL].strip()),
        START: element("DT", letter.at.strftime("%Y%m%d%H%M%S%z")),
        READINESS: element("CS", "READY"),
        WORKITEM_CODE: element("SQ", coded("110005", "DCM", "Interpretation")),
        COMMENTS: element("LT", _comment(flag)),
        PARAMETERS: element("SQ", _score(flag)),
    }
    return completed_creation(said, worklist_label=route.worklist_label)


def _comment(flag: Flag) -> str:
    told = [f"{flag.lane}: {'; '.join(flag.reasons) or 'score ' + format(flag.score, 'g')}"]
    told += [each.in_words for each in flag.findings]
    told += [f"Not read by {model}" for model, _ in flag.failures]
    # A backslash would end the value.
    return "\r\n".join([*told, _NOTE]).replace("\\", "/")[:_LONGEST_COMMENT]


def _score(flag: Flag) -> Attributes:
    """A numeric content item (PS3.3 §10.2)."""
    return {
        "0040A040": element("CS", "NUMERIC"),
        "0040A043": element("SQ", coded("score", "99MATINS", "Score within the lane")),
        "004008EA": element("SQ", coded("1", "UCUM", "no units")),
        "0040A30A": element("DS", round(flag.score, 3)),
    }
