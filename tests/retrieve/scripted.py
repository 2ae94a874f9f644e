"""An archive that answers word for word what a test tells it: no library minds its manners."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_FIND, C_MOVE
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind as Find,
)
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelMove as Move,
)

from tests.associations import Scp


@dataclass(kw_only=True)
class Say:
    """One response."""

    status: int
    identifier: Dataset | None = None
    #: Added to the Message ID that is answered.
    off_by: int = 0
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None


#: Ends the association without a word; waits until the end of the test.
HANG_UP, HANG = object(), object()
Script = Sequence[Say | object]


@dataclass
class Scripted:
    """Answers each request with the next script, the last one for ever."""

    scripts: Sequence[Script] | Callable[[Dataset], Script]
    services: Sequence[str] = (str(Find), str(Move))
    port: int = 0
    #: Identifiers as they were asked, and where to.
    asked: list[Dataset] = field(default_factory=list)
    destinations: list[str] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    _scp: Scp | None = None

    def start(self) -> Scripted:
        ae = AE(ae_title="ARCHIVE")
        for service in self.services:
            ae.add_supported_context(service)
        handlers: list[Any] = [(evt.EVT_C_FIND, self._find), (evt.EVT_C_MOVE, self._move)]
        handlers.append((evt.EVT_DIMSE_RECV, self._note_cancel))
        self._scp = Scp(ae, handlers)
        self.port = self._scp.port
        return self

    def stop(self) -> None:
        self.over.set()
        assert self._scp is not None
        self._scp.stop()

    def _find(self, event: evt.Event) -> Iterator[Any]:
        self._play(event, C_FIND)
        yield 0x0000, None

    def _move(self, event: evt.Event) -> Iterator[Any]:
        self.destinations.append(str(event.move_destination).strip())
        self._play(event, C_MOVE)
        yield None, None

    def _note_cancel(self, event: evt.Event) -> None:
        if event.message.command_set.CommandField == 0x0FFF:
            self.cancelled.set()

    def _play(self, event: evt.Event, kind: type) -> None:
        self.asked.append(event.identifier)
        # From here on only the script speaks.
        event.assoc.dimse.send_msg = lambda *_: None
        if callable(self.scripts):
            script = self.scripts(event.identifier)
        else:
            script = self.scripts[min(len(self.asked), len(self.scripts)) - 1]
        for each in script:
            if each is HANG_UP:
                event.assoc.abort()
            elif each is HANG:
                while not self.over.wait(0.05):
                    if self.cancelled.is_set():
                        self._say(event, kind, Say(status=0xFE00))
                        return
            else:
                assert isinstance(each, Say)
                self._say(event, kind, each)

    def _say(self, event: evt.Event, kind: type, each: Say) -> None:
        answer = kind()
        answer.MessageIDBeingRespondedTo = (event.request.MessageID + each.off_by) % 65536
        answer.AffectedSOPClassUID = event.request.AffectedSOPClassUID
        answer.Status = each.status
        if kind is C_MOVE:
            answer.NumberOfRemainingSuboperations = each.remaining
            answer.NumberOfCompletedSuboperations = each.completed
            answer.NumberOfFailedSuboperations = each.failed
        if each.identifier is not None:
            syntax = event.context.transfer_syntax
            answer.Identifier = BytesIO(encode(each.identifier, syntax.is_implicit_VR, syntax.is_little_endian) or b"")
        if event.assoc.is_established:
            DIMSEServiceProvider.send_msg(event.assoc.dimse, answer, event.context.context_id)


def pending(**attributes: object) -> Say:
    """A match with these attributes."""
    identifier = Dataset()
    for keyword, value in attributes.items():
        setattr(identifier, keyword, value)
    return Say(status=0xFF00, identifier=identifier)


DONE = Say(status=0x0000)
