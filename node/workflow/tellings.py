"""What another system tells, acted upon: who is whom, what is known of the patient, what was ordered and reported."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from node.domain.history import Fact
from node.domain.patient import Patient
from node.domain.time import Instant
from node.domain.told import Told, ToldFacts
from node.store import history, identities
from node.store.database import Database
from node.workflow import merging, ordered
from node.workflow.history import learn
from node.workflow.policy import Policy

#: A source whose clock is ahead by more than this does not know when it speaks: else nothing later would count.
_AHEAD = timedelta(hours=1)
#: Facts of one matter that one source has told of one patient and that are kept: the latest.
_MOST_FACTS = 1000


def act_upon(db: Database, now: Instant, policy: Policy, told: Told, *, told_by: str) -> list[str]:
    """Act upon what was told, in the caller's transaction; return the studies that it moved.

    `told_by`: what the source is called, as "hl7 RIS". What is older than what the source said last of the same
    patient and matter changes nothing.

    Raises:
        Failed: it asks for what must not be done; nothing of it was done, if the caller rolls back.
    """
    at = told.at if told.at and datetime.fromisoformat(told.at) <= now.wall + _AHEAD else ""
    moved: list[str] = []
    for each in told.separations:
        if not _is_latest(db, (each.patient, each.survivor), at, told_by):
            continue
        moved += merging.separate(db, now, policy, each.patient, each.survivor, told_by=told_by)
    for each in told.merges:
        if not _is_latest(db, (each.patient,), at, told_by):
            continue
        moved += merging.merge(db, now, policy, each.patient, each.survivor, told_by=told_by)
    for patient in told.patients:
        if told.corrects and identities.is_news(db, f"{told_by} identity", patient, at):
            moved += merging.correct(db, now, policy, patient, told.deleted, told_by=told_by)
        for facts in told.facts:
            moved += _learn(db, now, policy, patient, facts, at=at, told_by=told_by)
        for order in told.orders:
            moved += ordered.take(db, now, policy, patient, order, at=at, told_by=told_by)
    return list(dict.fromkeys(moved))


def _is_latest(db: Database, patients: Sequence[Patient], at: str, told_by: str) -> bool:
    """Whether nothing later was said of who these are: a merge that comes late undoes no separation."""
    news = [identities.is_news(db, f"{told_by} merge", each, at) for each in patients]
    return all(news)


def _learn(
    db: Database, now: Instant, policy: Policy, patient: Patient, told: ToldFacts, *, at: str, told_by: str
) -> list[str]:
    origin = f"{told_by} {told.matter}"
    if told.whole:
        if not patient.is_identified or not identities.is_news(db, origin, patient, at):
            return []
        return learn(db, now, policy, patient, told.facts, origin=origin)
    known = history.told_by(db, patient, origin)
    return learn(db, now, policy, patient, _together(known, told), origin=origin, beside=True)


def _together(known: list[Fact], told: ToldFacts) -> list[Fact]:
    """What was told before and what is told now: of two on one thing, the one that was observed later."""
    latest: dict[tuple[str, ...], Fact] = {}
    for fact in (*known, *told.facts):
        thing = (fact.code, fact.coded or fact.value, fact.unit if fact.coded else "", str(fact.number is None))
        before = latest.pop(thing, None)
        latest[thing] = before if before is not None and before.observed_at > fact.observed_at else fact
    return [fact for fact in latest.values() if fact.coded not in told.withdrawn or not fact.coded][-_MOST_FACTS:]
