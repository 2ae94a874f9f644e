"""C-STORE as performer (PS3.4 Annex B, PS3.7 §9.3.1): 0x0000 only after the object is durable."""

from __future__ import annotations

from collections.abc import Callable

from node.domain.uid import is_usable_uid
from node.errors import MatinsError, Refused
from node.receive import status
from node.receive.association import tried
from node.receive.command_set import Command
from node.receive.keeper import Incoming, Origin
from node.receive.message import NOWHERE
from node.receive.negotiation import AcceptedContext
from node.receive.session import Session


class Overlong(MatinsError):
    """A data set is larger than may be thrown away: its sender was answered, and the association is to be aborted."""


class Storing:
    """One C-STORE request while its data set arrives.

    A refusal is told when the data set is over, as a sender expects; one over the limit at once.
    """

    __slots__ = ("_answer", "_command", "_incoming", "_maximum", "_refused", "_session", "_size")

    def __init__(
        self, session: Session, context: AcceptedContext, command: Command, answer: Callable[[int, str], None]
    ) -> None:
        self._session = session
        self._command = command
        self._answer = answer
        self._maximum = session.door.settings.receive.maximum_object_bytes
        self._size = 0
        self._incoming: Incoming | None = None
        self._refused: Refused | None = None
        begun = tried(self._begin, context)
        if isinstance(begun, Refused):
            self._refused = begun
        else:
            self._incoming = begun

    def write(self, piece: memoryview) -> None:
        """Take the next bytes.

        Raises:
            Overlong: the object is over [receive] maximum_object_bytes; the answer was 0xA700.
        """
        self._size += len(piece)
        if self._size > self._maximum:
            self._fail(Refused(status.OUT_OF_RESOURCES, f"larger than {self._maximum} bytes"))
            self.finish()
            raise Overlong(f"an object over {self._maximum} bytes")
        if self._incoming is not None:
            failed = tried(self._incoming.write, piece)
            if failed is not None:
                self._fail(failed)

    def window(self, wanted: int) -> memoryview:
        """Where the next bytes may be put: `wanted` of them or fewer, none where they are to be written.

        What is small is quicker out of a buffer that stays in the processor's cache.
        """
        if self._incoming is None or not self._incoming.is_large or self._size + wanted > self._maximum:
            return NOWHERE
        window = tried(self._incoming.window, wanted)
        if isinstance(window, Refused):
            self._fail(window)
            return NOWHERE
        return window

    def advance(self, window: memoryview) -> None:
        """The window, or so much of it, was filled."""
        assert self._incoming is not None
        self._size += len(window)
        failed = tried(self._incoming.advance, window)
        if failed is not None:
            self._fail(failed)

    def finish(self) -> None:
        """Make it durable, then answer."""
        if self._incoming is not None:
            kept = tried(self._incoming.keep)
            if not isinstance(kept, Refused):
                self._incoming = None
                self._session.counts["kept" if kept else "held"] += 1
                self._answer(status.SUCCESS, "")
                return
            self._fail(kept)
        refused = self._refused
        assert refused is not None
        uid = self._command.sop_instance_uid
        self._session.counts["refused"] += 1
        self._session.door.refused_object(self._session.peer, uid if is_usable_uid(uid) else "", refused)
        self._answer(refused.status, refused.reason)

    def discard(self) -> None:
        """The association ends before the object does: nothing of it is kept."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            tried(incoming.discard)

    def _fail(self, refused: Refused) -> None:
        self._refused = self._refused or refused
        self.discard()

    def _begin(self, context: AcceptedContext) -> Incoming:
        command, session = self._command, self._session
        peer, settings = session.peer, session.door.settings
        if "source" not in peer.roles:
            raise Refused(status.NOT_AUTHORISED, f"{peer.name} may not store here: it has not the role source")
        if command.sop_class_uid != context.abstract_syntax:
            raise Refused(status.SOP_CLASS_NOT_SUPPORTED, "not the SOP Class of the presentation context")
        if not session.is_storage(context):
            raise Refused(status.UNRECOGNISED_OPERATION, "C-STORE is not offered on this presentation context")
        if not is_usable_uid(command.sop_instance_uid):
            raise Refused(status.INVALID_OBJECT_INSTANCE, "the command's SOP Instance UID is no UID")
        if not command.has_data_set:
            raise Refused(status.CANNOT_UNDERSTAND, "a C-STORE without a data set")
        if not session.door.has_room():
            raise Refused(status.OUT_OF_RESOURCES, session.door.full)
        origin: Origin = session.origin(retrieved=command.move_originator == settings.node.ae_title)
        return session.door.keeper.receive(
            origin,
            transfer_syntax_uid=context.transfer_syntax,
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            maximum_bytes=self._maximum,
            layouts=session.layouts,
        )
