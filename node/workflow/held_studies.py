"""A study that is held after it was told of: every receiver is told that nothing of that counts for now.

It is told under the same order number and with the identity that was told before, whatever the study says by now: the
receiver finds its own line by that, and hears of no other patient. What is wrong is said to nobody but here.
"""

from __future__ import annotations

from dataclasses import replace

from node.config import Route
from node.domain.notice import STANDING, Flag, NoticeKind, NoticeState
from node.domain.report_state import ReportState
from node.domain.study import StudyState
from node.domain.time import Instant
from node.store import notices, studies
from node.store.database import Database
from node.store.studies import StudyRow
from node.triage.telling import WITHDRAWN
from node.workflow import listing
from node.workflow.policy import Policy

BECAUSE = "the study is held: what was told of it does not count until a person has looked at it"


class HeldStudies:
    """Which held studies were seen to; a study that is held again is seen to again."""

    def __init__(self) -> None:
        self._seen: frozenset[str] = frozenset()

    def take_back(self, db: Database, now: Instant, policy: Policy) -> int:
        """Tell what has to be taken back of studies that are held since; return how many notices.

        Opens a transaction a study.
        """
        if not policy.settings.routes:
            return 0
        held = frozenset(studies.held(db))
        told = 0
        for uid in sorted(held - self._seen):
            with db.transaction():
                told += _take_back(db, now, policy, uid)
        self._seen = held
        return told


def _take_back(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> int:
    study = studies.study(db, study_instance_uid)
    if study is None or not _is_silent(study):
        return 0
    line = listing.line_of(db, study)
    first = line[0].study_instance_uid
    lines = {study_instance_uid, first}
    if any(listing.may_be_told(each) for each in line):
        # Others still speak for the line: what the held one had to say falls out.
        listing.tell(db, now, policy, first)
        lines.discard(first)
    # A manager of steps is told by itself that a study is not to be read.
    routes = [route for route in policy.settings.routes if route.kind != "ups"]
    return sum(_told_route(db, now, route, each) for each in sorted(lines) for route in routes)


def _told_route(db: Database, now: Instant, route: Route, line: str) -> bool:
    """Tell one route, if it has been told of nothing but what is held now."""
    if route.keeps_steps:
        return False
    told = [each for each in notices.of_study(db, line) if each.route == route.name]
    gone = [each for each in told if each.sent_at and each.state is not NoticeState.DEAD]
    if not gone or WITHDRAWN not in route.tells_when:
        return False
    last, newest = gone[-1], told[-1]
    if last.flag.kind is NoticeKind.WITHDRAWN or (
        newest.flag.kind is NoticeKind.WITHDRAWN and newest.state in STANDING
    ):
        return False
    spoken_for = {uid for each in (last, newest) for uid in (each.flag.told_of or (line,))}
    if not all(_is_silent(row) for row in studies.some(db, sorted(spoken_for))):
        return False
    notices.add(db, now, route=route.name, flag=withdrawn(last.flag), received=last.received, because=BECAUSE)
    return True


def withdrawn(told: Flag) -> Flag:
    """What is left of what was told: whom and what it was about, and that nothing stands."""
    return replace(
        told,
        kind=NoticeKind.WITHDRAWN,
        lane=told.ordered_lane,
        score=told.ordered_score,
        reasons=(),
        findings=(),
        failures=(),
    )


def _is_silent(study: StudyRow) -> bool:
    return study.state is StudyState.HELD and study.report_state is not ReportState.FINAL
