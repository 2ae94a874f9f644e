"""Alerts: a route is told that nobody has seen to a finding in time, over and above where its study stands."""

from __future__ import annotations

from dataclasses import replace

from node.domain.notice import NoticeKind
from node.domain.report_state import ReportState
from node.domain.time import Instant
from node.store import notices
from node.store.database import Database
from node.store.studies import StudyRow
from node.workflow import listing
from node.workflow.policy import Policy


def alert(
    db: Database, now: Instant, policy: Policy, study: StudyRow, route: str, kind: NoticeKind, because: str
) -> str:
    """Queue an alert about a study for a route, in the caller's transaction; return why not, or nothing.

    A route that not every source of the study lists in `flags_to` is told nothing, here as anywhere.
    """
    if route not in listing.routes_of(db, policy, study.study_instance_uid):
        return f"flags_to of where the study came from does not list {route}"
    line = listing.line_of(db, study)
    told_of = [study]
    if kind is NoticeKind.ESCALATION:
        told_of = [each for each in line if listing.may_be_told(each)] or [study]
        told_of = [each for each in told_of if route in listing.routes_of(db, policy, each.study_instance_uid)]
    flag = listing.flag_of(db, policy, line[0].study_instance_uid, told_of)
    if kind is NoticeKind.DISCREPANCY and study.report_state is ReportState.FINAL:
        # It is reported: where it stood in the list is of no interest any more.
        flag = replace(flag, reasons=())
    received = listing.last_received(told_of)
    notices.add(db, now, route=route, flag=replace(flag, kind=kind), received=received, because=because)
    return ""
