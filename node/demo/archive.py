"""The embedded archive: C-ECHO, C-STORE, Study Root C-FIND, C-MOVE and C-GET, in a process of its own.

`python -m node.demo.archive --port 0 --folder DIR` prints `ready 127.0.0.1:PORT` once it listens, and ends on SIGTERM.
It stands in for a hospital's archive in the demo and in tests; it listens on the loopback address only.
"""

from __future__ import annotations

import argparse
import errno
import queue
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import dcmread
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import build_context

from node.demo.collection import Collection, Misfit
from node.demo.connections import Connections
from node.demo.query import BadQuery
from node.demo.sender import Address, send, set_no_delay
from node.errors import Transient

_ADDRESS = "127.0.0.1"
_VERIFICATION = "1.2.840.10008.1.1"  # PS3.4 §A.4
_STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"  # PS3.4 §C.6.2.3
_STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
_STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
_SUCCESS = 0x0000  # PS3.7 Annex C
_PENDING = 0xFF00  # PS3.4 §C.4.1.1.4
_CANCELLED = 0xFE00  # PS3.4 §C.4.1.1.4
_PROCESSING_FAILURE = 0x0110  # PS3.7 Annex C
_OUT_OF_RESOURCES = 0xA700  # PS3.4 §B.2.3
_DOES_NOT_MATCH_SOP_CLASS = 0xA900  # PS3.4 §B.2.3, §C.4.1.1.4
_CANNOT_UNDERSTAND = 0xC000  # PS3.4 §B.2.3
_MOST_ASSOCIATIONS = 64
_MAXIMUM_PDU_BYTES = 131072
#: Presentation contexts of one association (PS3.8 §9.3.2.2).
_MOST_CONTEXTS = 128
_FORWARD_ATTEMPTS = 50
_FORWARD_WAIT_S = 0.2


class Archive:
    """The SCP over one collection; it forwards what arrives where that is wished, and moves to whom it knows."""

    def __init__(
        self,
        collection: Collection,
        ae_title: str,
        forward_to: Address | None = None,
        knows: Sequence[Address] = (),
    ) -> None:
        self._knows = {each.ae_title: each for each in knows}
        self._collection = collection
        self._ae_title = ae_title
        self._forwarder = None if forward_to is None else _Forwarder(ae_title, forward_to)
        self._connections = Connections()
        self._ae = AE(ae_title)
        self._ae.maximum_pdu_size = _MAXIMUM_PDU_BYTES
        self._ae.maximum_associations = _MOST_ASSOCIATIONS
        for context in AllStoragePresentationContexts:
            if context.abstract_syntax is not None:
                # Both roles: on the association of a C-GET we are the SCU.
                self._ae.add_supported_context(
                    context.abstract_syntax, ALL_TRANSFER_SYNTAXES, scu_role=True, scp_role=True
                )
        for service in (_VERIFICATION, _STUDY_ROOT_FIND, _STUDY_ROOT_MOVE, _STUDY_ROOT_GET):
            self._ae.add_supported_context(service)

    def start(self, port: int) -> int:
        """Listen in the background and return the port, a free one where `port` is 0."""
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_CONN_OPEN, set_no_delay),
            *self._connections.handlers(),
            (evt.EVT_PDU_RECV, _acknowledge_at_once),
            (evt.EVT_C_ECHO, lambda _: _SUCCESS),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_C_MOVE, self._move),
            (evt.EVT_C_GET, self._get),
        ]
        server = self._ae.start_server((_ADDRESS, port), block=False, evt_handlers=handlers)
        assert server is not None  # it is where block is False
        return int(server.server_address[1])

    def stop(self) -> None:
        """End all associations and stop listening."""
        self._ae.shutdown()
        self._connections.close()

    def _store(self, event: evt.Event) -> int:
        uid = str(cast(C_STORE, event.request).AffectedSOPInstanceUID)
        caller = str(event.assoc.requestor.ae_title).strip()
        try:
            arrival = self._collection.keep(event.encoded_dataset(), uid, caller)
        except Misfit as error:
            return _failed(_DOES_NOT_MATCH_SOP_CLASS, error)
        except InvalidDicomError as error:
            return _failed(_CANNOT_UNDERSTAND, error)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            return _failed(_OUT_OF_RESOURCES if full else _PROCESSING_FAILURE, error)
        if self._forwarder is not None:
            self._forwarder.put(self._collection.path(arrival))
        return _SUCCESS

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        try:
            for answer in self._collection.find(event.identifier):
                if event.is_cancelled:
                    yield _CANCELLED, None
                    return
                if "RetrieveAETitle" in event.identifier:
                    answer.RetrieveAETitle = self._ae_title
                yield _PENDING, answer
        except BadQuery as error:
            yield _failed(_DOES_NOT_MATCH_SOP_CLASS, error), None

    def _move(self, event: evt.Event) -> Iterator[Any]:
        """Send what matches to the destination named (PS3.4 §C.4.2): where, how many, then each with its status."""
        to = self._knows.get(str(event.move_destination).strip())
        if to is None:
            yield None, None
            return
        instances = self._matching(event)
        wanted = {(str(each.SOPClassUID), str(each.file_meta.TransferSyntaxUID)) for each in instances}
        contexts = [build_context(*each) for each in sorted(wanted)[:_MOST_CONTEXTS]]
        handlers = [(evt.EVT_CONN_OPEN, set_no_delay), *self._connections.handlers()]
        yield to.host, to.port, {"contexts": contexts, "evt_handlers": handlers}
        yield from self._sub_operations(event, instances)

    def _get(self, event: evt.Event) -> Iterator[Any]:
        """Send what matches over the same association (PS3.4 §C.4.3)."""
        yield from self._sub_operations(event, self._matching(event))

    def _matching(self, event: evt.Event) -> list[Dataset]:
        identifier = event.identifier
        try:
            return [dcmread(path) for path in self._collection.matching(identifier)]
        except BadQuery as error:
            print(f"retrieval: {error}", file=sys.stderr, flush=True)
            return []

    def _sub_operations(self, event: evt.Event, instances: Sequence[Dataset]) -> Iterator[Any]:
        yield len(instances)
        for instance in instances:
            if event.is_cancelled:
                yield _CANCELLED, None
                return
            yield _PENDING, instance


class _Forwarder:
    """Sends on what arrived, one after the other, until the process ends."""

    def __init__(self, calling_ae_title: str, to: Address) -> None:
        self._calling_ae_title = calling_ae_title
        self._to = to
        self._waiting: queue.Queue[Path] = queue.Queue()
        threading.Thread(target=self._run, name="forward", daemon=True).start()

    def put(self, path: Path) -> None:
        """Queue one file."""
        self._waiting.put(path)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            paths = [self._waiting.get()]
            while not self._waiting.empty():
                paths.append(self._waiting.get())
            for _ in range(_FORWARD_ATTEMPTS):
                try:
                    answers = send(paths, self._to, calling_ae_title=self._calling_ae_title)
                except Transient:
                    pause.wait(_FORWARD_WAIT_S)
                    continue
                refused = sum(not answer.is_accepted for answer in answers)
                print(f"forwarded {len(answers) - refused} of {len(paths)} to {self._to.ae_title}", file=sys.stderr)
                break
            else:
                print(f"gave up forwarding {len(paths)} to {self._to.ae_title}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Run the archive until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m node.demo.archive", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--folder", type=Path, required=True, help="where the files lie")
    parser.add_argument("--ae-title", default="ARCHIVE")
    parser.add_argument("--forward-to", type=Address.parse, metavar="HOST:PORT:AE", help="send on what arrives")
    parser.add_argument(
        "--knows", type=Address.parse, metavar="HOST:PORT:AE", action="append", default=[], help="may be moved to"
    )
    chosen = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    archive = Archive(Collection(chosen.folder), chosen.ae_title, chosen.forward_to, chosen.knows)
    print(f"ready {_ADDRESS}:{archive.start(chosen.port)}", flush=True)
    stop.wait()
    archive.stop()
    return 0


def _failed(status: int, error: Exception) -> int:
    print(f"0x{status:04X}: {error}", file=sys.stderr, flush=True)
    return status


def _acknowledge_at_once(event: evt.Event) -> None:
    """Spare a sender that leaves Nagle's algorithm on the 40 ms that it waits for our delayed acknowledgement."""
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


if __name__ == "__main__":
    raise SystemExit(main())
