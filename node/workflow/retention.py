"""Retention: the files of a study are freed once nothing is lost with them, and `keep_days` have passed.

Nothing is lost where every result is committed wherever it was sent, and an archive, asked just before, lists every
instance. A study that is held, at work, unsent, refused or looked at of late stays. Rows stay for good; what comes
again is kept under its old row, and no model runs on it again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from node.config import Settings
from node.domain.rejection import REJECTION_NOTE
from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.work import ResultState, WorkKind
from node.errors import Transient
from node.store import outbox, retention, studies, work_items
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.store.retention import KeptFile
from node.store.segment import place_of
from node.workflow.supersession import confirms_nothing

#: An archive's list counts for so long.
_LIST_COUNTS = timedelta(hours=24)
#: It is asked again after a day, and each time twice as long up to sixteen.
_MOST_DAYS = 16
#: A look is kept as seldom as this.
_LOOK_EVERY = timedelta(hours=1)
_SETTLED = frozenset({ResultState.COMMITTED, ResultState.SUPERSEDED, ResultState.WITHDRAWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """Why a study's files stay, or that they may go."""

    study_instance_uid: str
    #: Empty where they may go.
    reason: str
    #: All speaks for freeing it but that no archive has been asked of late.
    unasked: bool = False
    files: tuple[KeptFile, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of what would go, or went."""
        return sum(each.size for each in self.files)


def judged(db: Database, now: Instant, settings: Settings, *, but_not: Collection[str] = frozenset()) -> Iterator[Stay]:
    """Every study that is old enough, with why it stays or that it may go; none where nothing is ever freed."""
    days = settings.data.keep_days
    if days:
        before = (now.wall - timedelta(days=days)).isoformat(timespec="microseconds")
        for uid in [each for each in retention.aged(db, before) if each not in but_not]:
            yield judge(db, now, settings, uid, before)


def judge(db: Database, now: Instant, settings: Settings, study_instance_uid: str, before: str) -> Stay:
    """Say whether a study may be freed of which nothing has come since `before` (ISO 8601 UTC)."""
    uid = study_instance_uid
    files = tuple(retention.kept_files(db, uid))
    reason = _why_not_yet(db, uid, before) or _why_not_safe(db, settings, uid, files)
    if reason:
        return Stay(study_instance_uid=uid, reason=reason, files=files)
    asked_at, _ = retention.last_question(db, uid)
    since = (now.wall - _LIST_COUNTS).isoformat(timespec="microseconds")
    lacking = retention.unarchived(db, uid, since)
    if not lacking:
        return Stay(study_instance_uid=uid, reason="", files=files)
    if asked_at < since:
        return Stay(study_instance_uid=uid, reason="no archive has been asked of late", unasked=True, files=files)
    return Stay(study_instance_uid=uid, reason=f"no archive lists {lacking} of its instances", files=files)


def ask_archives(db: Database, now: Instant, study_instance_uid: str) -> bool:
    """Have archives asked whether they hold a study, in the caller's transaction; `False` if it is too early again."""
    asked_at, questions = retention.last_question(db, study_instance_uid)
    if asked_at:
        wait = timedelta(days=min(_MOST_DAYS, 2 ** max(0, questions - 1)))
        if now.wall < datetime.fromisoformat(asked_at) + wait:
            return False
    retention.record_question(db, now, study_instance_uid)
    work_items.add(db, now, WorkKind.ARCHIVED, f"{study_instance_uid}/{questions + 1}", study_instance_uid)
    return True


def free(
    db: Database,
    now: Instant,
    settings: Settings,
    stay: Stay,
    identities: Mapping[str, str],
    digests: Mapping[str, str],
) -> bool:
    """Note that the files of a study are freed, once more sure that they may be; opens its own transaction.

    `False` if something has come between. The files themselves are removed after this has returned.
    """
    before = (now.wall - timedelta(days=settings.data.keep_days)).isoformat(timespec="microseconds")
    with db.transaction():
        again = judge(db, now, settings, stay.study_instance_uid, before)
        if again.reason or again.files != stay.files:
            return False
        reason = f"{len(stay.files)} files after {settings.data.keep_days} days; committed, and listed by an archive"
        retention.record_freed(db, now, stay.study_instance_uid, stay.files, identities, digests, reason)
    return True


def look(db: Database, now: Instant, study_instance_uid: str) -> None:
    """Somebody looks at a study: its files stay for another while. Opens its own transaction; waits for nobody."""
    last = retention.looked_at(db, study_instance_uid)
    if not last or datetime.fromisoformat(last) + _LOOK_EVERY < now.wall:
        with suppress(Transient), db.transaction():
            retention.record_look(db, now, study_instance_uid)


def _why_not_yet(db: Database, study_instance_uid: str, before: str) -> str:
    study = studies.study(db, study_instance_uid)
    if study is None:
        return "it is gone"
    if study.state is not StudyState.DONE:
        return f"it is {study.state}"
    if study.open or study.force_requested or study.released:
        return "it waits to be closed"
    if kinds := retention.work_under_way(db, study_instance_uid):
        return f"work is under way: {', '.join(kinds)}"
    return (
        "it was worked on or looked at of late" if retention.latest_activity(db, study_instance_uid) >= before else ""
    )


def _why_not_safe(db: Database, settings: Settings, study_instance_uid: str, files: tuple[KeptFile, ...]) -> str:
    unsafe = (_why_unsafe(settings, row) for row in outbox.of_study(db, study_instance_uid))
    if reason := next(filter(None, unsafe), ""):
        return reason
    if any(place_of(each.path) for each in files):
        return "not all of it is filed yet"
    if not any("archive" in peer.roles for peer in settings.peers):
        return "no peer with the role archive is configured, so nobody is known to hold it"
    two = retention.of_two_contents(db, study_instance_uid)
    return f"{two} of its instances came with two contents, and an archive holds but one" if two else ""


def _why_unsafe(settings: Settings, row: OutboxRow) -> str:
    """Why a result keeps its study here."""
    if row.state in _SETTLED:
        return ""
    if row.state is not ResultState.SENT:
        return f"{row.kind} is {row.state} at {row.destination}"
    peer = settings.peer_named(row.destination)
    if row.kind == REJECTION_NOTE or peer is None or confirms_nothing(peer):
        return ""
    return f'{row.destination} has not committed itself to {row.kind}; confirm = "none" says that it never does'
