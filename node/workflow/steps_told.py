"""Managers of Unified Procedure Steps elsewhere: asked to have each study read, told when there is nothing to read.

A study that is held, or reported, or whose source lists the route no longer, is not to be claimed there.
"""

from __future__ import annotations

from dataclasses import replace

from node.config import Route, Settings
from node.domain.notice import STANDING, Flag, NoticeState
from node.domain.report_state import ReportState
from node.domain.study import StudyState
from node.domain.time import Instant
from node.store import notices, studies
from node.store.database import Database
from node.store.notices import Notice
from node.store.studies import StudyRow
from node.triage.telling import why_tell
from node.workflow import listing
from node.workflow.policy import Policy

#: Studies that one sweep puts right.
_SWEEP = 50


def tell(db: Database, now: Instant, policy: Policy, study: StudyRow) -> None:
    """Queue for each manager that may hear of a study how it stands now; in the caller's transaction."""
    routes = routes_of(policy.settings)
    allowed = listing.routes_of(db, policy, study.study_instance_uid) if routes else frozenset()
    for route in routes:
        if route.name in allowed and not why_over(study):
            _tell(db, now, route, listing.flag_of(db, policy, study.study_instance_uid, [study]), study)
        else:
            _take_back(db, now, route, study)


def sweep(db: Database, now: Instant, policy: Policy) -> None:
    """Take back what no rerank has told of: studies that are held, reported or found to be priors.

    Opens its own transactions.
    """
    routes = [route.name for route in routes_of(policy.settings)]
    for uid in notices.told_and_over(db, routes, limit=_SWEEP) if routes else ():
        with db.transaction():
            study = studies.study(db, uid)
            if study is not None:
                tell(db, now, policy, study)


def routes_of(settings: Settings) -> list[Route]:
    """The routes that are managers of steps."""
    return [route for route in settings.routes if route.keeps_steps]


def why_over(study: StudyRow) -> str:
    """Why a study is not to be read, in words that say nothing of the patient; empty if it is."""
    if study.report_state is ReportState.FINAL:
        return "the study has been read and reported"
    if study.state is StudyState.HELD:
        return "the study is held for a person"
    if study.prior:
        return "the study is a prior"
    return "" if study.revision and not study.early else "the study receives"


def _tell(db: Database, now: Instant, route: Route, flag: Flag, study: StudyRow) -> None:
    standing, last = _known(db, route, study.study_instance_uid)
    if standing is not None and not _why(route, standing.flag, flag):
        if standing.state is NoticeState.HELD:
            # Whatever held it may have passed: the gate decides anew.
            notices.move(db, now, standing, NoticeState.QUEUED, "the study was looked at again")
        return
    because = _why(route, last.flag if last else None, flag)
    if not because and last is not None and not last.acknowledged_at:
        because = "an earlier notice may or may not have arrived"
    if because:
        notices.add(db, now, route=route.name, flag=flag, received=study.last_received, because=because)
    elif standing is not None:
        reason = "what the manager was told before is true again"
        notices.supersede(db, now, study.study_instance_uid, route.name, reason)


def _take_back(db: Database, now: Instant, route: Route, study: StudyRow) -> None:
    standing, last = _known(db, route, study.study_instance_uid)
    if standing is not None and standing.flag.over:
        return
    over = why_over(study) or "the study is not told of here any more"
    if last is not None and not (last.flag.over and last.acknowledged_at):
        flag = replace(last.flag, over=over)
        notices.add(db, now, route=route.name, flag=flag, received=last.received, because=over)
    elif standing is not None:
        notices.supersede(db, now, study.study_instance_uid, route.name, over)


def _known(db: Database, route: Route, uid: str) -> tuple[Notice | None, Notice | None]:
    """What stands to be told of a study, and what the manager may have: of a dead one it has said that it does not."""
    told = [each for each in notices.of_study(db, uid) if each.route == route.name]
    standing = next((each for each in reversed(told) if each.state in STANDING), None)
    gone = [each for each in told if each.sent_at and each.state is not NoticeState.DEAD]
    return standing, gone[-1] if gone else None


def _why(route: Route, before: Flag | None, after: Flag) -> str:
    if before is None:
        return "it is to be read" if after.lane in route.lanes else ""
    if before.over:
        return "it is to be read again"
    return why_tell(before, after, when=route.tells_when, lanes=route.lanes, score_step=route.score_step)
