"""N-CREATE, N-SET, N-GET and N-ACTION of Unified Procedure Steps (PS3.4 §CC.2): who may ask, and what is answered."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import closing

from node.config import Peer, Settings
from node.domain.dicom_json import Attributes, text
from node.domain.time import Instant
from node.domain.uid import is_usable_uid
from node.domain.ups import (
    FILTERED_GLOBAL_SUBSCRIPTION,
    GLOBAL_SUBSCRIPTION,
    KNOWING,
    PULL,
    PUSH,
    REQUESTER,
    WATCH,
    WORKING,
    Action,
    UpsState,
    UpsStatus,
)
from node.domain.ups_attributes import (
    ISSUER_OF_PATIENT_ID,
    STATE,
    TRANSACTION_UID,
    completed_creation,
    fault_of_creation,
)
from node.errors import Refused
from node.receive import status
from node.receive.intakes import Reply, Request
from node.receive.keeper import Keeper
from node.receive.ups import encoding
from node.store import ups
from node.store.database import Database, open_database
from node.store.ups import UpsRow
from node.workflow import performing
from node.workflow import ups as steps
from node.workflow.policy import Policies
from node.workflow.steps_seen import as_seen

#: Which actions belong to a SOP class (PS3.4 Tables CC.2-1 to CC.2-3).
_ACTIONS = {
    PUSH: (Action.REQUEST_CANCEL,),
    PULL: (Action.CHANGE_STATE,),
    WATCH: (Action.SUBSCRIBE, Action.UNSUBSCRIBE, Action.SUSPEND_GLOBAL, Action.REQUEST_CANCEL),
}
_WELL_KNOWN = (GLOBAL_SUBSCRIPTION, FILTERED_GLOBAL_SUBSCRIPTION)
#: Bytes of what one step says, as text.
_LONGEST_STEP = 2 << 20

#: One, by the identity of the settings that it was read from.
_POLICIES: dict[int, Policies] = {}

#: What an operation is done with: connection, moment, settings, request, and what this says.
_Operation = Callable[[Database, Instant, Settings, Request, Attributes], Reply]


def answer(settings: Settings, keeper: Keeper, request: Request) -> Reply:
    """Answer one request; what it changes is durable before success is answered.

    Raises:
        Refused: with the status and the reason.
        Transient: the database stayed busy.
    """
    if request.sop_class_uid not in (PUSH, request.abstract_syntax):
        raise Refused(status.SOP_CLASS_NOT_SUPPORTED, "every step is an instance of the UPS Push SOP Class")
    # All of it before the transaction: it takes as long as many of them.
    told = _told(request)
    if request.operation == "N-ACTION":
        _policies_of(settings).current()
    # The listener's own connection does not sync its commits: its rows are rebuilt from the objects, these cannot be.
    with closing(open_database(keeper.db.folder, keeper.db.room)) as db:
        if request.operation == "N-GET":
            return _get(db, settings, request)
        with db.transaction():
            reply = _OPERATIONS[request.operation](db, keeper.clock.now(), settings, request, told)
        uid = request.sop_instance_uid
        if request.type_id == Action.SUBSCRIBE and uid in _WELL_KNOWN and reply.status == status.SUCCESS:
            performing.watch_what_stands(db, keeper.clock.now(), settings, uid, _keys(uid, told))
    return reply


def _told(request: Request) -> Attributes:
    """What a request says.

    Raises:
        Refused: its peer may not ask it, there is no such action, or it cannot be read.
    """
    if request.operation == "N-ACTION" and request.type_id not in _ACTIONS[request.abstract_syntax]:
        raise Refused(UpsStatus.NO_SUCH_ACTION, "no action of this SOP class")
    claims = request.operation == "N-SET" or request.type_id == Action.CHANGE_STATE
    demand(request.peer, (REQUESTER,) if request.operation == "N-CREATE" else WORKING if claims else KNOWING)
    reads = request.operation != "N-GET"
    return encoding.read(request.content, request.transfer_syntax_uid) if reads else {}


def demand(peer: Peer, roles: tuple[str, ...]) -> None:
    """See that a peer may ask this.

    Raises:
        Refused: 0x0124, it has none of the roles.
    """
    if not set(roles) & set(peer.roles):
        raise Refused(status.NOT_AUTHORISED, f"{peer.name} is no {' or '.join(roles)}")


def _create(db: Database, now: Instant, settings: Settings, request: Request, told: Attributes) -> Reply:
    uid = request.sop_instance_uid or f"2.25.{uuid.uuid4().int}"
    if fault := fault_of_creation(told):
        return _reply(*fault)
    if ups.count_asked(db) >= settings.ups.maximum_created:
        raise Refused(status.RESOURCE_LIMITATION, f"{settings.ups.maximum_created} steps are kept already")
    made = completed_creation(told, worklist_label=settings.ups.worklist_label)
    row = UpsRow(
        sop_instance_uid=uid,
        state=UpsState.SCHEDULED,
        transaction_uid="",
        performer="",
        source=request.peer.name,
        issuer=text(made, ISSUER_OF_PATIENT_ID) or request.peer.issuer,
        study_instance_uid="",
        number=0,
        attributes=made,
        generated={},
        created_at=now.iso,
    )
    if not steps.create(db, now, row, settings):
        return _reply(UpsStatus.DUPLICATE_SOP_INSTANCE, "there is a step with this UID")
    return Reply(status=status.SUCCESS, sop_instance_uid=uid)


def _set(db: Database, now: Instant, settings: Settings, request: Request, told: Attributes) -> Reply:
    row = _seen(db, settings, request)
    if len(str(row.attributes)) + len(str(told)) > _LONGEST_STEP:
        raise Refused(status.RESOURCE_LIMITATION, "the step would become larger than any that is kept")
    return _reply(*performing.set_attributes(db, now, request.sop_instance_uid, told))


def _get(db: Database, settings: Settings, request: Request) -> Reply:
    attributes = _seen(db, settings, request).attributes
    asked = [f"{tag:08X}" for tag in request.attributes]
    told = {tag: attributes[tag] for tag in asked or attributes if tag in attributes and tag != TRANSACTION_UID}
    return Reply(status=status.SUCCESS, content=encoding.written(told, request.transfer_syntax_uid))


def _act(db: Database, now: Instant, settings: Settings, request: Request, told: Attributes) -> Reply:
    uid, peer = request.sop_instance_uid, request.peer
    assert request.type_id is not None
    action = Action(request.type_id)
    watches = action in (Action.SUBSCRIBE, Action.UNSUBSCRIBE, Action.SUSPEND_GLOBAL)
    if not watches or uid not in _WELL_KNOWN:
        _seen(db, settings, request)
    if watches:
        return _reply(*performing.watch(db, now, settings, uid, action, _keys(uid, told)))
    policy = _policies_of(settings).current
    if action is Action.REQUEST_CANCEL:
        return _reply(*performing.request_cancel(db, now, policy, uid, told, ae_title=peer.ae_title))
    asked, transaction_uid = text(told, STATE), text(told, TRANSACTION_UID)
    if not asked:
        return _reply(UpsStatus.MISSING_ATTRIBUTE, "the Procedure Step State is missing")
    if transaction_uid and not is_usable_uid(transaction_uid):
        return _reply(UpsStatus.INVALID_ATTRIBUTE_VALUE, "the Transaction UID is no UID")
    return _reply(*performing.change_state(db, now, policy, uid, asked, transaction_uid, performer=peer.name))


_OPERATIONS: dict[str, _Operation] = {"N-CREATE": _create, "N-SET": _set, "N-ACTION": _act}


def _seen(db: Database, settings: Settings, request: Request) -> UpsRow:
    """The step that is meant, as the peer sees it.

    Raises:
        Refused: 0xC307, there is none that the peer may know of.
    """
    row = ups.step(db, request.sop_instance_uid, shown_alone=True)
    row = as_seen(db, settings, request.peer, row) if row is not None else None
    if row is None:
        raise Refused(UpsStatus.NO_SUCH_UPS, "no step with this UID is managed here")
    return row


def _keys(uid: str, told: Attributes) -> Attributes:
    """What a subscription says, with whole UIDs and the like only where it is a filter."""
    return (
        told
        if uid == FILTERED_GLOBAL_SUBSCRIPTION
        else {tag: value for tag, value in told.items() if tag[:4] == "0074"}
    )


def _reply(code: UpsStatus, reason: str) -> Reply:
    return Reply(status=int(code), reason=reason)


def _policies_of(settings: Settings) -> Policies:
    """Rules and models, read when a study's rank may first move by what a peer says."""
    if id(settings) not in _POLICIES:
        _POLICIES.clear()
        _POLICIES[id(settings)] = Policies(settings)
    return _POLICIES[id(settings)]
