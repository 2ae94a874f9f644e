"""Takes in what the retrieve room fetched by WADO-RS or C-GET and left as files in the inbox.

Which archive an object is from is read from the row of its retrieval, never from the object.
"""

from __future__ import annotations

import threading

import structlog

from node.config import Settings
from node.errors import Refused, Transient
from node.loop import Stop, guarded
from node.receive.keeper import Keeper, Origin
from node.receive.part10 import read_meta
from node.receive.recover import mapped
from node.store import events, retrievals
from node.store.inbox import Inbox
from node.store.retrievals import Retrieval

NAME = "retrieved"

_POLL_S = 0.2
#: After a disk that is full, or an index that is behind.
_WAIT_S = 2.0
_PIECE_BYTES = 1 << 20

log = structlog.get_logger()


class Taking:
    """The thread that empties the inbox."""

    def __init__(self, settings: Settings, keeper: Keeper) -> None:
        self.where = "the inbox of what was fetched"
        self._settings = settings
        self._keeper = keeper
        self._inbox = Inbox(settings.data.folder)
        self._stop = Stop()
        self._thread = threading.Thread(target=self._run, name="retrieved", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it still takes what is left for it."""
        return self._thread.is_alive()

    def stop(self, drain_s: float) -> None:
        """Take nothing more; what waits is taken at the next start."""
        self._stop.set()
        self._thread.join(drain_s)

    def take_all(self) -> int:
        """Take what waits now; return how many objects were kept or found to be held.

        Raises:
            Transient: the index is behind; what waits is tried again.
            OSError: the disk is full or failing; what waits is tried again.
        """
        kept = 0
        for retrieval_id, path in self._inbox.waiting():
            if self._stop.is_set():
                break
            retrieval = retrievals.retrieval(self._keeper.db, retrieval_id)
            if retrieval is None or not retrieval.is_open:
                self._inbox.remove(retrieval_id)
                continue
            try:
                with mapped(path) as whole:
                    self._keep(retrieval, whole)
                kept += 1
            except FileNotFoundError:
                continue
            except Refused as error:
                self._note(retrieval, f"0x{error.status:04X}: {error.reason}")
            path.unlink(missing_ok=True)
        return kept

    def _keep(self, retrieval: Retrieval, whole: memoryview) -> None:
        meta = read_meta(whole)
        peer = self._settings.peer_named(retrieval.peer)
        origin = Origin(
            source=retrieval.peer,
            sending_ae_title=peer.ae_title if peer else "",
            receiving_ae_title=self._settings.node.ae_title,
            retrieved=True,
        )
        incoming = self._keeper.receive(
            origin,
            transfer_syntax_uid=meta.transfer_syntax_uid,
            maximum_bytes=self._settings.receive.maximum_object_bytes,
            sop_class_uid=meta.sop_class_uid,
        )
        try:
            for start in range(meta.dataset_offset, len(whole), _PIECE_BYTES):
                with whole[start : start + _PIECE_BYTES] as piece:
                    incoming.write(piece)
            incoming.keep()
        finally:
            incoming.discard()

    def _note(self, retrieval: Retrieval, reason: str) -> None:
        log.warning("object_refused", peer=retrieval.peer, reason=reason)
        study = retrieval.study_instance_uid
        with self._keeper.db.transaction():
            now = self._keeper.clock.now()
            text = f"an object of {retrieval.peer}: {reason}"
            events.record(self._keeper.db, now, "retrieval", retrieval.id, after="refused", reason=text, study=study)

    def _run(self) -> None:
        beat = guarded(self._beat)
        while not self._stop.wait(_POLL_S):
            beat()

    def _beat(self) -> None:
        try:
            self.take_all()
        except (OSError, Transient) as error:
            log.warning("inbox_waits", reason=str(error))
            self._stop.wait(_WAIT_S)


def start(settings: Settings, keeper: Keeper) -> Taking | None:
    """Begin to take; there is nothing to take where no peer is an archive."""
    return Taking(settings, keeper) if any("archive" in peer.roles for peer in settings.peers) else None
