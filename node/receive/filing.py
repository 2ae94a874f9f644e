"""Filing: objects of the journal become Part 10 files, so that whoever reads a described instance finds one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog

from node.errors import Failed, Transient
from node.store import instances
from node.store.database import Database
from node.store.instances import HeldInstance
from node.store.segment import place_of
from node.store.spool import Spool, Unfiled

log = structlog.get_logger()


def filed(spool: Spool, held: Sequence[HeldInstance]) -> dict[int, str | Failed]:
    """Write those that lie in the journal as files, durably; return the path of each, by row id, or why it has none.

    Raises:
        Transient: the disk is full or failing.
    """
    unfiled = [each for each in held if place_of(each.path)]
    wanted = [
        Unfiled(
            path=each.path,
            sop_instance_uid=each.sop_instance_uid,
            digest=each.digest,
            received_s=datetime.fromisoformat(each.received_at).timestamp(),
        )
        for each in unfiled
    ]
    try:
        written = spool.file(wanted)
    except OSError as error:
        raise Transient(f"objects cannot be filed: {error.strerror or error}") from error
    paths: dict[int, str | Failed] = {each.id: each.path for each in held}
    for each, path in zip(unfiled, written, strict=True):
        if isinstance(path, Failed):
            log.error("object_unreadable", path=each.path, reason=str(path))
        paths[each.id] = path
    return paths


class Leftovers:
    """Objects that lie in the journal although nobody will describe them: their segment could never be freed."""

    def __init__(self) -> None:
        #: Row ids of those that cannot be filed; tried again by the next process.
        self._hopeless: set[int] = set()

    def file(self, db: Database, spool: Spool, *, limit: int) -> bool:
        """File up to `limit` of them; `True` if there were any.

        Raises:
            Transient: the disk is full or failing, or the database is busy.
        """
        held = instances.left_in_journal(db, but_not=self._hopeless, limit=limit)
        if not held:
            return False
        paths = filed(spool, held)
        with db.transaction():
            for row, path in paths.items():
                if isinstance(path, Failed):
                    self._hopeless.add(row)
                else:
                    instances.move(db, row, path)
        return True
