"""C-STORE as a scanner sends: a list of instances, over one association at a time, in the given order."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association

from node.demo.connections import Connections
from node.errors import Transient

#: Presentation contexts of one association (PS3.8 §9.3.2.2: odd numbers from 1 to 255).
_MOST_CONTEXTS = 128
_MAXIMUM_PDU_BYTES = 131072
#: pynetdicom can lose an answer to its own reactor; the same object is then sent again, which is harmless.
_ATTEMPTS = 3
_ANSWER_LIMIT_S = 30.0
#: Several rounds of its reactor.
_ROUNDS_S = 0.01

#: Files go out as they lie there: bytes, not a data set read and written anew.
_config.STORE_SEND_CHUNKED_DATASET = True

Progress = Callable[[int, int], None]
_Context = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a DICOM node listens, and how it is called."""

    host: str
    port: int
    ae_title: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `HOST:PORT:AE`.

        Raises:
            ValueError: the text has another form.
        """
        host, port, ae_title = text.rsplit(":", 2)
        return cls(host, int(port), ae_title)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the peer said to one instance."""

    sop_instance_uid: str
    #: C-STORE status (PS3.4 §B.2.3); `None` where the peer accepted no context for it.
    status: int | None

    @property
    def is_accepted(self) -> bool:
        """Whether the status is success or a warning."""
        return self.status is not None and (self.status == 0x0000 or self.status & 0xF000 == 0xB000)


def send(
    instances: Sequence[Dataset | Path],
    to: Address,
    *,
    calling_ae_title: str = "DEMO-SCANNER",
    on_sent: Progress | None = None,
) -> list[Answer]:
    """Send every instance and return the answers, in order.

    instances: data sets with file meta, or Part 10 files.
    on_sent: called after each answer with (answered so far, all).

    Raises:
        Transient: the peer cannot be reached, rejects the association, or breaks it off three times.
    """
    contexts = [_context(instance) for instance in instances]
    answers: list[Answer] = []
    failures = 0
    while len(answers) < len(instances):
        before = len(answers)
        proposed = list(dict.fromkeys(contexts[before:]))[:_MOST_CONTEXTS]
        with closing(Connections()) as connections:
            association = _associate(proposed, to, calling_ae_title, connections)
            parked = _park(association)
            try:
                for instance, context in zip(instances[before:], contexts[before:], strict=True):
                    answer = _store(association, instance, context) if context in proposed else None
                    if answer is None:
                        break
                    answers.append(answer)
                    if on_sent is not None:
                        on_sent(len(answers), len(instances))
            finally:
                if association.is_established:
                    association.release()
                parked.end()
        failures = failures + 1 if len(answers) == before else 0
        if failures == _ATTEMPTS:
            raise Transient(f"{to.ae_title} at {to.host}:{to.port} broke off after {len(answers)} instances")
    return answers


def files_below(folder: Path) -> list[Path]:
    """Return the files in `folder` and below, sorted by path."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def set_no_delay(event: evt.Event) -> None:
    """Handler of EVT_CONN_OPEN: without TCP_NODELAY, Nagle's algorithm holds each small data set back for 40 ms."""
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _context(instance: Dataset | Path) -> _Context:
    """SOP Class and transfer syntax, as the file meta says them."""
    meta = read_file_meta_info(instance) if isinstance(instance, Path) else instance.file_meta
    return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)


def _associate(
    contexts: Sequence[_Context], to: Address, calling_ae_title: str, connections: Connections
) -> Association:
    ae = AE(calling_ae_title)
    ae.dimse_timeout = ae.acse_timeout = ae.connection_timeout = _ANSWER_LIMIT_S
    for sop_class_uid, transfer_syntax_uid in contexts:
        ae.add_requested_context(sop_class_uid, transfer_syntax_uid)
    association = ae.associate(
        to.host,
        to.port,
        ae_title=to.ae_title,
        max_pdu=_MAXIMUM_PDU_BYTES,
        evt_handlers=[(evt.EVT_CONN_OPEN, set_no_delay), *connections.handlers()],
    )
    refuses_all_contexts = bool(association.rejected_contexts) and not association.accepted_contexts
    if not association.is_established and not refuses_all_contexts:
        why = "rejected the association" if association.is_rejected else "cannot be reached, or broke off"
        raise Transient(f"{to.ae_title} at {to.host}:{to.port} {why}")
    return association


class _Parked(threading.Event):
    """A checkpoint that pynetdicom's reactor does not pass while we send: it would take answers that are ours."""

    def set(self) -> None:
        """Not yet."""

    def end(self) -> None:
        """The association is over: let the reactor end."""
        super().set()


def _park(association: Association) -> _Parked:
    """Have the reactor thread wait for the life of the association.

    pynetdicom parks it for each message, but looks at a flag that may still be that of the last time: an answer that
    comes within a millisecond is then lost, and missed for half a minute.
    """
    parked = _Parked()
    before, association._reactor_checkpoint = association._reactor_checkpoint, parked
    # It is past its old checkpoint for the last time now; its rounds take a millisecond.
    before.set()
    time.sleep(_ROUNDS_S)
    return parked


def _store(association: Association, instance: Dataset | Path, context: _Context) -> Answer | None:
    """The peer's answer to one instance; `None` where none came."""
    meta = read_file_meta_info(instance) if isinstance(instance, Path) else instance.file_meta
    uid = str(meta.MediaStorageSOPInstanceUID)
    accepted = ((str(each.abstract_syntax), str(each.transfer_syntax[0])) for each in association.accepted_contexts)
    if context not in accepted:
        return Answer(uid, None)
    if not association.is_established:
        return None
    status = association.send_c_store(instance)
    return Answer(uid, int(status.Status)) if "Status" in status else None
