"""What was asked for on the pages, done."""

from __future__ import annotations

from node.domain.time import Instant
from node.store import requests
from node.store.database import Database
from node.workflow import reported
from node.workflow.policy import Policy


def perform(db: Database, now: Instant, policy: Policy) -> int:
    """Do everything that was asked for on the pages; return how much. Opens a transaction each."""
    done = 0
    for each in requests.waiting(db):
        with db.transaction():
            if requests.record_done(db, now, each.id):
                reported.record(db, now, policy, each.study_instance_uid, each.report_state, told_by=each.login)
                done += 1
    return done
