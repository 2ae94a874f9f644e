"""Query and retrieval of what we made (PS3.4 Annex C, Study Root): C-FIND, and C-MOVE to a destination.

Told and moved are our own results alone, live, neither withdrawn nor held, to whom `results_to` lists; never what
others sent us. A C-MOVE has the deliver room send: its gate, its patience; here is counted how far that is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing

from pydicom import Dataset

from node.config import Peer, Settings
from node.domain.work import ResultState
from node.errors import Refused
from node.receive import held_results, identifier, status
from node.receive.held_results import Found
from node.receive.intakes import Part, Request, Running
from node.receive.keeper import Keeper
from node.store import outbox
from node.store.database import Database, open_database
from node.store.outbox import OutboxRow
from node.workflow import pulling

NAME = "query_retrieve"
#: Study Root Query/Retrieve Information Model: FIND, MOVE (PS3.4 §C.6.2.4).
_FIND, _MOVE = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2"
SOP_CLASSES = (_FIND, _MOVE)
OPERATIONS = {_FIND: ("C-FIND",), _MOVE: ("C-MOVE",)}

#: For what is moved to arrive; what has not by then counts as failed, though it is still sent.
_PATIENCE_S = 60.0
#: How often it is looked how far that is, and told though nothing has changed.
_LOOK_S, _TELL_S = 0.1, 5.0
_ARRIVED = frozenset({ResultState.SENT, ResultState.COMMITTED})


def start(settings: Settings, keeper: Keeper) -> Running | None:  # noqa: ARG001
    """Nothing listens but the DICOM port."""
    return None


def parts(settings: Settings, keeper: Keeper, request: Request) -> Iterator[Part]:
    """Answer C-FIND and C-MOVE.

    Raises:
        Refused: 0x0124 the peer is no destination; 0xA801 the move's destination is none; 0xA700, 0xA900, 0xC001 as
            `identifier.read` and `held_results.found` say; 0x0110, 0x0213 the identifier cannot be read.
        Transient: the database stayed busy.
    """
    if "destination" not in request.peer.roles:
        raise Refused(status.NOT_AUTHORISED, f"{request.peer.name} is no destination")
    asked = identifier.read(request.content, request.transfer_syntax_uid)
    # The listener's own connection does not sync its commits: its rows are rebuilt from the objects, these cannot be.
    with closing(open_database(keeper.db.folder, keeper.db.room)) as db:
        matches = held_results.found(db, settings, request.peer, asked)
        if request.operation == "C-FIND":
            for answer in held_results.answers(asked, matches, settings.node.ae_title):
                encoded = held_results.encoded(answer, request.transfer_syntax_uid)
                yield Part(status=status.PENDING, identifier=encoded)
            yield Part(status=status.SUCCESS)
            return
        if not asked.uids(identifier.UNIQUE_KEYS[asked.level]):
            raise Refused(status.IDENTIFIER_DOES_NOT_MATCH, f"{identifier.UNIQUE_KEYS[asked.level]} is empty")
        destination = settings.peer_titled(request.move_destination)
        if destination is None or "destination" not in destination.roles:
            raise Refused(status.MOVE_DESTINATION_UNKNOWN, "no destination has the AE title that is named")
        yield from _moved(db, settings, keeper, request, destination, matches)


def _moved(
    db: Database, settings: Settings, keeper: Keeper, request: Request, destination: Peer, matches: Sequence[Found]
) -> Iterator[Part]:
    """Queue what the destination may have, and tell how far it is until all is through or patience ends."""
    allowed = [each for each in matches if _may_be_sent(db, settings, destination, each)]
    now = keeper.clock.now()
    ids = pulling.queue(db, now, [each.result for each in allowed], destination, request.peer.name)
    total, told, told_s = len(matches), (-1, -1), 0.0
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        rows = outbox.with_ids(db, ids)
        open_rows = [row for row in rows if row.state is ResultState.QUEUED]
        completed = sum(row.state in _ARRIVED for row in rows)
        failed = total - completed - len(open_rows)
        now_s = time.monotonic()
        if not open_rows or now_s >= deadline_s:
            yield _last(request, matches, rows, completed, total - completed, len(open_rows))
            return
        if (completed, failed) != told or now_s - told_s >= _TELL_S:
            told, told_s = (completed, failed), now_s
            yield Part(status=status.PENDING, counts=(len(open_rows), completed, failed, 0))
        time.sleep(_LOOK_S)


def _may_be_sent(db: Database, settings: Settings, destination: Peer, found: Found) -> bool:
    """Whether the destination may have a result that the peer who asks may have."""
    study = found.study.study_instance_uid
    meant = {each.artifact.id for each in pulling.pullable(db, destination, study)}
    patient = held_results.patient_of(found.header)
    return found.result.artifact.id in meant and pulling.may_have(db, settings, destination, found.result, patient)


def _last(
    request: Request, matches: Sequence[Found], rows: Sequence[OutboxRow], completed: int, failed: int, late: int
) -> Part:
    """The last answer, with what could not be moved (PS3.4 §C.4.2.1.4.2)."""
    if not failed:
        return Part(status=status.SUCCESS, counts=(0, completed, 0, 0))
    arrived = {row.sop_instance_uid for row in rows if row.state in _ARRIVED}
    uids = [each.result.artifact.sop_instance_uid for each in matches]
    told = Dataset()
    told.FailedSOPInstanceUIDList = [uid for uid in uids if uid not in arrived]
    reason = f"{late} still wait for the destination" if late else "not for this destination, or refused there"
    return Part(
        status=status.SOME_FAILED,
        reason=reason,
        identifier=held_results.encoded(told, request.transfer_syntax_uid),
        counts=(0, completed, failed, 0),
    )
