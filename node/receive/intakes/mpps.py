"""The Modality Performed Procedure Step SCP (PS3.4 Annex F.7): what a modality says of its own work.

Only kept: the step's UID and state, its studies, what it lists, and the code of a discontinuation. A study never waits
for a step, so a request that is refused costs nothing but the head start.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TypeVar

from node.config import Settings
from node.domain.procedure_step import StepState, shown_code
from node.domain.uid import is_usable_uid
from node.errors import Refused
from node.receive import procedure_step, status
from node.receive.intakes import Reply, Request, Running
from node.receive.keeper import Keeper
from node.receive.procedure_step import Told
from node.store import procedure_steps
from node.store.database import Database, open_database
from node.workflow import procedure

NAME = "mpps"
#: Modality Performed Procedure Step SOP Class.
SOP_CLASSES = ("1.2.840.10008.3.1.2.3.3",)

#: PS3.4 Table F.7.2-2: Error Comment (0000,0902) and Error ID (0000,0903) of an N-SET on a final step.
_NO_LONGER = "Performed Procedure Step Object may no longer be updated"
_NO_LONGER_ID = 0xA710
#: Code Value and Coding Scheme Designator are SH (PS3.5 §6.2); of others only that there was one is told.
_CODE = re.compile(r"[A-Za-z0-9._-]{1,16}")


Value = TypeVar("Value")


def start(settings: Settings, keeper: Keeper) -> Running | None:  # noqa: ARG001
    """Nothing listens but the DICOM port."""
    return None


def answer(settings: Settings, keeper: Keeper, request: Request) -> Reply:  # noqa: ARG001
    """Answer N-CREATE and N-SET; the step is durable before success is answered.

    Raises:
        Refused: 0x0211 another operation; 0x0124 the peer is no source; 0x0117 no valid SOP Instance UID; 0x0111 the
            step exists; 0x0112 it does not; 0x0106, 0x0120, 0x0121 an attribute is wrong, missing or empty; 0x0110,
            0x0213 the data set cannot be read, or is too large.
        Transient: the database stayed busy.
    """
    if request.operation not in ("N-CREATE", "N-SET"):
        raise Refused(status.UNRECOGNISED_OPERATION, f"{request.operation} is not offered for procedure steps")
    if "source" not in request.peer.roles:
        raise Refused(status.NOT_AUTHORISED, f"{request.peer.name} is no source")
    if not is_usable_uid(request.sop_instance_uid):
        raise Refused(status.INVALID_OBJECT_INSTANCE, "a procedure step without a valid SOP Instance UID")
    told = procedure_step.read(request.content, request.transfer_syntax_uid)
    # The listener's own connection does not sync its commits: its rows are rebuilt from the objects, these cannot be.
    with closing(open_database(keeper.db.folder, keeper.db.room)) as db, db.transaction():
        if request.operation == "N-CREATE":
            return _create(db, keeper, request, told)
        return _set(db, keeper, request, told)


def _create(db: Database, keeper: Keeper, request: Request, told: Told) -> Reply:
    """PS3.4 §F.7.2.1: a step begins IN PROGRESS and names the study of each scheduled step."""
    if _state(_present(told.status, "Performed Procedure Step Status")) is not StepState.IN_PROGRESS:
        raise Refused(status.INVALID_ATTRIBUTE_VALUE, "a procedure step is created IN PROGRESS")
    studies = _present(told.studies, "Scheduled Step Attributes Sequence")
    for uid in studies:
        if not is_usable_uid(_present(uid, "Study Instance UID")):
            raise Refused(status.INVALID_ATTRIBUTE_VALUE, "the Study Instance UID is no UID")
    step, now = request.sop_instance_uid, keeper.clock.now()
    if not procedure_steps.add(db, now, step, studies, told.listed or {}, source=request.peer.name):
        raise Refused(status.DUPLICATE_SOP_INSTANCE, "there is a procedure step with this UID")
    return Reply(status=status.SUCCESS)


def _set(db: Database, keeper: Keeper, request: Request, told: Told) -> Reply:
    """PS3.4 §F.7.2.2: only a step IN PROGRESS is changed.

    One that is discontinued may list nothing: why it was is worth more than the list.
    """
    step = request.sop_instance_uid
    before = procedure_steps.step_state(db, step)
    if before is None:
        raise Refused(status.NO_SUCH_SOP_INSTANCE, "no procedure step has this UID")
    if before is not StepState.IN_PROGRESS:
        return Reply(status=status.PROCESSING_FAILURE, reason=_NO_LONGER, error_id=_NO_LONGER_ID)
    after = before if told.status is None else _state(_present(told.status, "Performed Procedure Step Status"))
    if after is StepState.COMPLETED and not (told.listed is None and procedure_steps.listed_count(db, step)):
        _present(told.listed, "Performed Series Sequence")
    code = _code(told) if after is StepState.DISCONTINUED else ""
    procedure.changed(db, keeper.clock.now(), step, after, told.listed, reason_code=code)
    return Reply(status=status.SUCCESS)


def _present(value: Value | None, name: str) -> Value:
    """Return the value of a required attribute.

    Raises:
        Refused: 0x0120 where it is not there, 0x0121 where it is empty.
    """
    if value is None:
        raise Refused(status.MISSING_ATTRIBUTE, f"the {name} is missing")
    if not value:
        raise Refused(status.MISSING_ATTRIBUTE_VALUE, f"the {name} is empty")
    return value


def _state(text: str) -> StepState:
    try:
        return StepState(text)
    except ValueError:
        raise Refused(
            status.INVALID_ATTRIBUTE_VALUE, "the Performed Procedure Step Status is none of its three"
        ) from None


def _code(told: Told) -> str:
    return shown_code(*told.reason) if all(map(_CODE.fullmatch, told.reason)) else ""
