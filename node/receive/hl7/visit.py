"""One connection of a sender: message after message, each durable before it is acknowledged."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import cached_property

import structlog

from node.errors import Transient
from node.receive.association import Door
from node.receive.certificate import Certificate
from node.receive.hl7 import senders
from node.receive.hl7.acknowledgement import INTERNAL_ERROR, Answer, Verdict, acknowledgement
from node.receive.hl7.applying import Applier
from node.receive.hl7.keeping import MessageKeeper
from node.receive.hl7.mllp import Broken, Frames, Overlong
from node.receive.hl7.syntax import NotUnderstood, Segment, header_of
from node.receive.port import Visit
from node.receive.tls import Credentials, HandshakeFailed

log = structlog.get_logger()


class Hl7Visit(Visit):
    """A connection on which messages come."""

    def __init__(
        self, connection: socket.socket, address: str, door: Door, credentials: Credentials | None, applier: Applier
    ) -> None:
        super().__init__(connection, address, door, credentials)
        self._applier = applier
        self._admitted = False
        self._certificate: Certificate | None = None

    def run(self) -> None:
        """Take its messages, one after the other."""
        limits = self._door.settings.receive.hl7
        try:
            with suppress(OSError):
                # Connections are open for days: the kernel sees when nobody is at the other end any more.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._certificate = self._secure(self._door.settings.receive.artim_s)
            frames = Frames(
                self._socket,
                most_bytes=limits.maximum_message_bytes,
                idle_s=limits.idle_s,
                message_s=limits.message_s,
            )
            while self._serve(frames):
                pass
        except HandshakeFailed as error:
            self._door.closed(self.address, f"TLS: {error.reason}", alert=error.alert)
        except (NotUnderstood, Broken) as error:
            self._door.closed(self.address, f"HL7: {error}")
        except Transient as error:
            # Nothing was acknowledged: it is sent again.
            log.warning("message_waits", address=self.address, reason=str(error))
        finally:
            self._keeper.close()

    @cached_property
    def _keeper(self) -> MessageKeeper:
        return MessageKeeper(self._door)

    def _serve(self, frames: Frames) -> bool:
        """Take one message; say whether another may follow."""
        overlong = ""
        try:
            content = frames.next()
        except Overlong as error:
            content, overlong = error.beginning, str(error)
        if content is None:
            return False
        header = header_of(content)
        sender = senders.identify(self._door.settings, self.address, header, self._certificate)
        if isinstance(sender, senders.Denial):
            self._door.closed(self.address, f"HL7: {sender.reason}", alert=sender.alert)
            self._tell(frames, header, Answer(verdict=Verdict.REJECT, code=INTERNAL_ERROR, reason="unknown sender"))
            return False
        if not self._admitted:
            if limit := self._door.lobby.admit(self, sender.name):
                self._door.closed(self.address, f"HL7: more than {limit}")
                return False
            self._admitted = True
        if not self._door.has_room():
            raise Transient(self._door.full)
        answer = self._keeper.take(sender, header, content, overlong)
        self._applier.wake()
        self._tell(frames, header, answer)
        return not overlong

    def _tell(self, frames: Frames, header: Segment, answer: Answer) -> None:
        settings, now = self._door.settings, self._door.keeper.clock.now()
        number = f"{now.wall:%Y%m%d%H%M%S%f}"[:20]
        told = acknowledgement(
            header, answer, application=settings.node.ae_title, now=now.wall.astimezone(), number=number
        )
        if told is not None:
            frames.send(told)
