"""A message is kept, and then acknowledged: in one transaction that is synced, with what it will be recognised by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import structlog

from node.config.hl7 import Hl7Sender
from node.receive.association import Door
from node.receive.hl7.acknowledgement import ACCEPTED, INTERNAL_ERROR, SEQUENCE_ERROR, Answer, Verdict
from node.receive.hl7.syntax import NotUnderstood, Segment
from node.receive.hl7.understanding import NotTaken, control_id, kind_of, understood
from node.store import hl7_messages
from node.store.database import Database, open_database
from node.store.hl7_messages import MessageState

#: Over the settings, or a fault of ours: either may have been mended.
_CAME_TO_NOTHING = (MessageState.NOT_UNDERSTOOD, MessageState.FAILED)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A message as far as it could be read."""

    number: str
    kind: str
    answer: Answer


class MessageKeeper:
    """Keeps the messages of one connection."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._db: Database | None = None

    def take(self, sender: Hl7Sender, header: Segment, content: bytes, overlong: str = "") -> Answer:
        """Keep a message of a known sender, and say what it is to be told.

        One that came before is told the same, and nothing more becomes of it; one that could not be understood, or
        failed, before is looked at anew: what was in its way may have been mended. `overlong`: why it is not whole.

        Raises:
            Transient: it could not be kept; nothing may be answered.
        """
        read = _read(sender, header, content, overlong, ours=own_names(self._door.settings.node.ae_title))
        digest = hashlib.sha256(content).hexdigest()
        accepted = read.answer.verdict is Verdict.ACCEPT
        if self._db is None:
            # The listener's own connection does not sync its commits: its rows are rebuilt from objects, these cannot
            # be.
            self._db = open_database(self._door.keeper.db.folder, self._door.keeper.db.room)
        db, now = self._db, self._door.keeper.clock.now()
        with db.transaction():
            before = hl7_messages.find(db, sender.name, read.number, digest)
            if before is not None and before.state not in _CAME_TO_NOTHING:
                log.info("message_repeated", sender=sender.name, kind=before.kind)
                return Answer(verdict=Verdict.ACCEPT)
            hl7_messages.keep(
                db,
                now,
                sender=sender.name,
                control_id=read.number,
                digest=digest,
                kind=read.kind,
                content=b"" if overlong else content,
                state=MessageState.RECEIVED if accepted else MessageState.NOT_UNDERSTOOD,
                reason=read.answer.reason,
            )
        level = log.info if accepted else log.warning
        level("message_received", sender=sender.name, kind=read.kind, answer=read.answer.verdict.value,
              reason=read.answer.reason)  # fmt: skip
        return read.answer

    def close(self) -> None:
        """Let go of the database."""
        if self._db is not None:
            self._db.close()
            self._db = None


def own_names(ae_title: str) -> frozenset[str]:
    """How this node calls itself in what it tells others, in capitals: MSH-3, fillers, coding schemes."""
    return frozenset((ae_title.upper(), "MATINS", "99MATINS"))


def _read(sender: Hl7Sender, header: Segment, content: bytes, overlong: str, *, ours: frozenset[str]) -> _Read:
    """Read a message as far as it goes."""
    number = ""
    try:
        number = control_id(header)
        if overlong:
            raise NotUnderstood(overlong)
        found = understood(content, sender, ours=ours)
    except NotTaken as error:
        answer = Answer(verdict=Verdict.REJECT, code=error.code, reason=error.reason)
    except NotUnderstood as error:
        code = INTERNAL_ERROR if overlong else SEQUENCE_ERROR
        answer = Answer(verdict=Verdict.ERROR, code=code, reason=str(error))
    else:
        return _Read(number=number, kind=found.kind, answer=Answer(verdict=Verdict.ACCEPT, code=ACCEPTED))
    return _Read(number=number, kind=kind_of(header), answer=answer)
