"""Studies of old, fetched a few an hour and read in the shadow: never ranked, never sent, never before anybody's study.

An archive is asked day by day, backwards. What it lists is fetched by night (or, where a person says so, at any hour)
while the disk has room, and comes as a prior does. Once it is here, today's models read it in the shadow.
"""

from __future__ import annotations

import shutil

from node.catalogue import Model
from node.domain.model_card import Mode
from node.domain.night import BackfilledState, BackfillState
from node.domain.retrieval import Purpose, RetrievalState
from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.work import OutcomeState, WorkHours, WorkKind, WorkState
from node.store import backfills, outcomes, retrievals, studies, work_items
from node.store.backfills import Backfill, BackfilledStudy
from node.store.database import Database
from node.store.studies import StudyRow
from node.workflow import comparing, night_hours
from node.workflow.policy import Policy

_HOUR_S = 3600.0
#: Studies of one backfill that are on their way at once: enough that the archive is never idle.
_MOST_ON_THE_WAY = 2
#: Studies that one beat looks at.
_MOST_AT_ONCE = 50


class _NotRead(Exception):
    """Nothing of what was begun is kept."""


def subject_of(backfill: Backfill, day: str) -> str:
    """The subject of the work item that asks which studies an archive has of a day."""
    return f"{backfill.id}/{day}"


def step(db: Database, now: Instant, policy: Policy) -> int:
    """Let every backfill go on as far as it may now; return how many studies were asked for or given to models.

    Opens its own transactions.
    """
    return sum(_step(db, now, policy, each) for each in backfills.running(db))


def hours_of(backfill: Backfill) -> WorkHours:
    """When what a backfill needs may be done."""
    return WorkHours.SPARE if backfill.at_once else WorkHours.NIGHT


def read_in_shadow(
    db: Database, now: Instant, policy: Policy, study: StudyRow, model_name: str, hours: WorkHours
) -> bool:
    """Have one of today's models read a prior in the shadow, in these hours; where it cannot, all stays as it was.

    Opens its own transaction.
    """
    uid = study.study_instance_uid
    try:
        with db.transaction():
            if not comparing.rerun(db, now, policy, uid, model_name):
                raise _NotRead
            for outcome in outcomes.of_study(db, uid):
                if (outcome.model, outcome.mode, outcome.state) == (model_name, Mode.SHADOW, OutcomeState.PENDING):
                    work_items.put_off(db, WorkKind.INFER, outcome.id, hours)
    except _NotRead:
        return False
    return True


def _step(db: Database, now: Instant, policy: Policy, backfill: Backfill) -> int:
    done = sum(
        _look_after(db, now, policy, backfill, each)
        for each in backfills.studies_in(db, backfill.id, BackfilledState.ASKED, _MOST_AT_ONCE)
    )
    waits = _why_wait(db, now, policy, backfill)
    if waits:
        if waits != backfill.reason:
            with db.transaction():
                backfills.note(db, backfill.id, waits)
        return done
    on_the_way = len(backfills.studies_in(db, backfill.id, BackfilledState.ASKED, _MOST_AT_ONCE))
    found = backfills.studies_in(db, backfill.id, BackfilledState.FOUND, max(0, _MOST_ON_THE_WAY - on_the_way))
    for each in found:
        done += _ask(db, now, policy, backfill, each)
    if not found and on_the_way < _MOST_ON_THE_WAY:
        _list_next_day(db, now, backfill, is_last=on_the_way == 0)
    return done


def _why_wait(db: Database, now: Instant, policy: Policy, backfill: Backfill) -> str:
    night = policy.settings.night
    if backfill.peer not in {peer.name for peer in policy.settings.peers if "archive" in peer.roles}:
        return f"no peer {backfill.peer} with the role archive is configured"
    if not backfill.at_once and not night_hours.is_night(now, policy.settings):
        return "waits for the night"
    usage = shutil.disk_usage(db.folder)
    reserve = max(night.backfill_free_percent, policy.settings.data.minimum_free_percent)
    if 100.0 * usage.free / usage.total < reserve:
        return f"less than {reserve:g} % of the disk is free"
    if backfills.asked_since(db, now, _HOUR_S) >= night.backfill_per_hour:
        return f"{night.backfill_per_hour} studies were asked for within an hour"
    return ""


def _ask(db: Database, now: Instant, policy: Policy, backfill: Backfill, each: BackfilledStudy) -> int:
    """Have one study fetched, unless it is here, or the hour has had its share."""
    if backfills.asked_since(db, now, _HOUR_S) >= policy.settings.night.backfill_per_hour:
        return 0
    uid = each.study_instance_uid
    with db.transaction():
        if studies.study(db, uid) is not None:
            backfills.move_study(db, each, BackfilledState.ASKED, "it is here already")
            return 0
        made = retrievals.record(db, now, uid, backfill.peer, Purpose.BACKFILL)
        if made.purpose is Purpose.BACKFILL:
            work_items.put_off(db, WorkKind.FETCH, retrievals.subject_of(made), hours_of(backfill))
        backfills.move_study(db, each, BackfilledState.ASKED, retrieval_id=made.id)
    return 1


def _look_after(db: Database, now: Instant, policy: Policy, backfill: Backfill, each: BackfilledStudy) -> int:
    """Give a study that has come to the models; leave out what could not be had."""
    retrieval = retrievals.retrieval(db, each.retrieval_id) if each.retrieval_id is not None else None
    if retrieval is not None and retrieval.is_open:
        return 0
    study = studies.study(db, each.study_instance_uid)
    if retrieval is not None and retrieval.state is RetrievalState.FAILED and study is None:
        with db.transaction():
            backfills.move_study(db, each, BackfilledState.LEFT_OUT, retrieval.reason)
        return 0
    if study is None or study.open:
        return 0
    if study.state is StudyState.HELD:
        with db.transaction():
            backfills.move_study(db, each, BackfilledState.LEFT_OUT, f"it is held: {study.reason}")
        return 0
    if not study.prior:
        with db.transaction():
            backfills.move_study(db, each, BackfilledState.READ, "it is read like any other study")
        return 0
    wanted = [model.card.name for model in policy.active_models if model.runs and not _has_read(db, study, model)]
    read = [name for name in wanted if read_in_shadow(db, now, policy, study, name, hours_of(backfill))]
    with db.transaction():
        state = BackfilledState.READ if read or not wanted else BackfilledState.LEFT_OUT
        backfills.move_study(db, each, state, "" if state is BackfilledState.READ else "no model of today suits it")
    return int(bool(read))


def _has_read(db: Database, study: StudyRow, model: Model) -> bool:
    """Whether the model as it is today has been given the study already."""
    today = (model.card.name, model.model_digest, model.card_digest)
    return any(
        (each.model, each.model_digest, each.card_digest) == today and each.reason != study.prior
        for each in outcomes.current(db, study.study_instance_uid)
    )


def _list_next_day(db: Database, now: Instant, backfill: Backfill, *, is_last: bool) -> None:
    """Have the archive asked for the day before those that it was asked for; after the last one all is done."""
    day = backfills.day_before(backfill.listed_from) if backfill.listed_from else backfill.until
    if day < backfill.since:
        if is_last:
            with db.transaction():
                backfills.move(db, now, backfill, BackfillState.DONE)
        return
    subject = subject_of(backfill, day)
    if work_items.state(db, WorkKind.BACKFILL, subject) in (WorkState.READY, WorkState.CLAIMED):
        return
    with db.transaction():
        work_items.renew(db, now, WorkKind.BACKFILL, subject, "")
        work_items.put_off(db, WorkKind.BACKFILL, subject, hours_of(backfill))
