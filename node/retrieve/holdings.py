"""Work items `archived`: whether archives list every instance of a study whose files are to be freed."""

from __future__ import annotations

from collections.abc import Callable

from node.config import Settings
from node.domain.time import Clock
from node.domain.uid import is_usable_uid
from node.domain.work import WorkKind
from node.errors import Failed
from node.loop import Handling
from node.retrieve import calls
from node.retrieve.inquiry import answers, handling_of
from node.retrieve.question import ContentsQuery, Reply
from node.store import retention, work_items
from node.store.database import Database
from node.store.work_items import WorkItem

#: Asks one archive which instances a study has.
Ask = Callable[[ContentsQuery], Reply]


class Holdings:
    """Work items `archived`: each is asked of one archive after the other."""

    def __init__(self, db: Database, clock: Clock, settings: Settings, ask: Ask) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._ask = ask

    def handling(self) -> Handling:
        """How the loop treats these items."""
        return handling_of(self._db, self._clock, WorkKind.ARCHIVED, self.handle, self._finish)

    def handle(self, item: WorkItem) -> None:
        """Ask, and keep what is listed in the transaction that finishes the item.

        Raises:
            Failed: no archive lists instances; the study stays.
            Transient: an archive does not answer now, and has been asked fewer than three times.
        """
        uid = item.study_instance_uid
        if not is_usable_uid(uid):
            raise Failed("the study has no sound UID to ask for")
        listed: set[str] = set()
        told: list[str] = []
        archives = calls.archives(self._settings)
        for peer, reply in answers(
            self._db, item, archives, lambda peer: self._ask(calls.contents_query(self._settings, peer, uid))
        ):
            if isinstance(reply, str):
                told.append(reply)
            elif reply.contents is None:
                told.append(f"{peer.name} does not list instances")
            else:
                told.append(f"{peer.name} lists {len(reply.contents)} instance(s)")
                listed |= {each.sop_instance_uid for each in reply.contents}
        with self._db.transaction():
            now = self._clock.now()
            if work_items.finish(self._db, now, item, "; ".join(told)):
                retention.record_archived(self._db, now, uid, sorted(listed))

    def _finish(self, item: WorkItem, error: Exception) -> None:
        work_items.finish(self._db, self._clock.now(), item, f"{error}; nothing is freed")
