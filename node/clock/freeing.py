"""Frees files of studies, a few at a time: rows first, then the files, so that a crash leaves nothing that lies.

Old rows that nothing rests on are forgotten on the same beat.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from itertools import islice
from pathlib import Path

import structlog

from node.clock.forgetting import Forgetting
from node.config import Settings
from node.domain.time import Clock
from node.loop import describe_error
from node.store import retention
from node.store.database import Database
from node.store.files import sync_folder
from node.store.spool import Spool
from node.workflow import retention as workflow
from node.workflow.retention import Stay

#: Studies judged, and freed, in one beat.
_MOST_JUDGED = 200
_MOST_FREED = 20
#: Files removed in one transaction.
_MOST_REMOVED = 1000
#: A study that stays is looked at again after this.
_AGAIN = timedelta(hours=1)
_CHUNK_BYTES = 1 << 20
#: Preamble and prefix "DICM" (PS3.10 §7.1), then (0002,0000): tag, VR, length and value.
_GROUP_LENGTH_AT, _META_END_AT = 140, 144

log = structlog.get_logger()


class Freeing:
    """Does what is due; remembers for a while which studies stay, so that they are not looked at each minute."""

    def __init__(self, db: Database, clock: Clock, settings: Settings) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._spool = Spool(db.folder)
        self._forgetting = Forgetting(db, clock, settings)
        #: Study → ISO 8601 UTC before which it is not looked at again.
        self._stays: dict[str, str] = {}

    def step(self) -> int:
        """Remove what an earlier process left, ask archives about what is due, and free what may go; return how many.

        Raises:
            OSError: the disk is failing; what was not removed is tried again.
            Transient: the database is busy.
        """
        self._remove()
        self._forgetting.step()
        freed = 0
        now = self._clock.now()
        stays = workflow.judged(self._db, now, self._settings, but_not=self._resting())
        for stay in islice(stays, _MOST_JUDGED):
            if stay.unasked:
                with self._db.transaction():
                    workflow.ask_archives(self._db, now, stay.study_instance_uid)
            elif not stay.reason:
                freed += self._freed(stay)
            self._stays[stay.study_instance_uid] = (now.wall + _AGAIN).isoformat(timespec="microseconds")
            if freed == _MOST_FREED:
                break
        self._remove()
        return freed

    def look_again(self) -> None:
        """Forget which studies stay: somebody wants to know now."""
        self._stays.clear()

    def _resting(self) -> frozenset[str]:
        now = self._clock.now().iso
        self._stays = {uid: until for uid, until in self._stays.items() if until > now}
        return frozenset(self._stays)

    def _freed(self, stay: Stay) -> bool:
        """Free one study; a file that cannot be read keeps its own study here, and no other."""
        try:
            return self._free(stay)
        except OSError as error:
            log.error("study_not_freed", study=stay.study_instance_uid, reason=describe_error(error))
            return False

    def _free(self, stay: Stay) -> bool:
        """Say in the rows that the files are freed, each known again by its digest, and which file it was."""
        identities = {each.path: self._spool.identity(each.path) for each in stay.files}
        present = {path: identity for path, identity in identities.items() if identity}
        digests = {
            each.path: data_set_digest(self._db.folder / each.path)
            for each in stay.files
            if each.instance_id is not None and each.path in present
        }
        return workflow.free(self._db, self._clock.now(), self._settings, stay, present, digests)

    def _remove(self) -> None:
        """Remove the files whose rows say that they are freed, unless another file has come to bear the name."""
        while due := retention.to_be_removed(self._db, limit=_MOST_REMOVED):
            for path, identity in due.items():
                self._spool.remove(path, identity)
            for folder in {(self._db.folder / path).parent for path in due}:
                if folder.is_dir():
                    sync_folder(folder)
            retention.record_removed(self._db, list(due))
            log.info("files_removed", count=len(due))


def data_set_digest(path: Path) -> str:
    """SHA-256 over what follows the file meta group of a Part 10 file that we wrote.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        head = stream.read(_META_END_AT)
        stream.seek(_META_END_AT + int.from_bytes(head[_GROUP_LENGTH_AT:_META_END_AT], "little"))
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
