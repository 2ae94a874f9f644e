"""Ranking: the place of a study, found anew whenever a fact has changed, in that fact's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isinf

from node.domain.patient import Patient
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.time import Instant
from node.store import events, reading_list, studies, waiting
from node.store.database import Database
from node.store.reading_list import Place
from node.store.studies import StudyRow
from node.triage.rank import Ranking, highest_score, overtaking_window_min, rank
from node.workflow import acknowledging, listing, reading_steps
from node.workflow.policy import Policy
from node.workflow.rank_facts import facts_of

#: Studies that are looked at together, and that one transaction writes at most: with routes and procedure steps each
#: costs some ms, and meanwhile nobody else writes.
_BATCH, _WRITTEN = 100, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One study with the place it had and the one it has by what is known now."""

    row: StudyRow
    before: Place
    after: Place
    ranking: Ranking


def rerank(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> None:
    """Find the study's lane, score and reasons from everything that is known now; note it if they changed.

    A prior raises nothing, whatever its order or history say; what a radiologist has reported stays where it was.
    """
    _write(db, now, policy, [*ranked_anew(db, now, policy, [study_instance_uid], write=True)])
    listing.tell(db, now, policy, study_instance_uid)
    acknowledging.note(db, now, policy, study_instance_uid)
    reading_steps.schedule(db, now, policy, study_instance_uid)


def rerank_with_patient(
    db: Database, now: Instant, policy: Policy, study_instance_uid: str, *, before: Patient
) -> None:
    """As `rerank`, and every other study of its patient that waits: what a study says of them is known of all.

    `before`: whose study it was so far.
    """
    rerank(db, now, policy, study_instance_uid)
    study = studies.study(db, study_instance_uid)
    patients = {before, study.patient} if study is not None else {before}
    others = {uid for each in patients if each.is_identified for uid in reading_list.unread_of_patient(db, each)}
    for uid in sorted(others - {study_instance_uid}):
        rerank(db, now, policy, uid)


def rerank_all(db: Database, now: Instant, policy: Policy) -> int:
    """Rank everything anew that waits, as after new rules or in the morning; return how many places changed.

    Looks without the lock and writes what changed in short transactions of its own.
    """
    moved = 0
    uids = reading_list.unread(db)
    for start in range(0, len(uids), _BATCH):
        batch = uids[start : start + _BATCH]
        changed = [each.row.study_instance_uid for each in ranked_anew(db, now, policy, batch) if _differs(each)]
        for piece in (changed[at : at + _WRITTEN] for at in range(0, len(changed), _WRITTEN)):
            with db.transaction():
                moved += _write(db, now, policy, [*ranked_anew(db, now, policy, piece, write=True)])
                for uid in piece:
                    listing.tell(db, now, policy, uid)
                    acknowledging.note(db, now, policy, uid)
                    reading_steps.schedule(db, now, policy, uid)
    return moved


def ranked_anew(
    db: Database, now: Instant, policy: Policy, uids: Sequence[str], *, write: bool = False
) -> Iterator[Ranked]:
    """Each of these studies that waits for a radiologist, with its place by what is known now.

    `write`: inside a transaction; then a study that joins the list does so once and for all.
    """
    rows = [row for row in studies.some(db, uids) if row.report_state is not ReportState.FINAL]
    facts = facts_of(db, rows)
    places = reading_list.places(db, [row.study_instance_uid for row in rows])
    section = policy.settings.rank
    highest = {lane: highest_score(policy.rules, lane=lane, findings_maximum=section.findings_maximum) for lane in Lane}
    for row in rows:
        known, asked, before = facts[row.study_instance_uid], policy.rules, places[row.study_instance_uid]
        if row.prior:
            known, asked = replace(known, requested_priority=""), ()
        queued_s = before.queued_s
        if queued_s is None:
            joined = waiting.joined_s if write else waiting.would_join_s
            queued_s = joined(db, now, row.first_received)
        ranking = rank(
            known,
            asked,
            points_per_minute=section.points_per_minute,
            findings_maximum=section.findings_maximum,
            queued_s=queued_s,
            pin=before.pin,
        )
        window_min = overtaking_window_min(ranking.score, highest[ranking.lane], section.points_per_minute)
        after = replace(
            before,
            lane=ranking.lane,
            band=ranking.band,
            score=ranking.score,
            sort_key=ranking.sort_key,
            reasons=json.dumps(ranking.reason_rows),
            queued_s=queued_s,
            overtakable_min=None if isinf(window_min) else window_min,
        )
        yield Ranked(row=row, before=before, after=after, ranking=ranking)


def _differs(each: Ranked) -> bool:
    return each.before != each.after


def _write(db: Database, now: Instant, policy: Policy, ranked: Sequence[Ranked]) -> int:
    """Keep the places that changed, and note every move in lane or score; return how many changed."""
    changed = [each for each in ranked if _differs(each)]
    reading_list.record_ranks(db, [each.after for each in changed])
    for each in changed:
        before, after = _shown(each.before), _shown(each.after)
        if before != after:
            reason = "; ".join(said.because for said in each.ranking.reasons)
            events.record(
                db,
                now,
                "rank",
                _rules(policy, each.ranking),
                before=before,
                after=after,
                reason=reason or "nothing speaks for more",
                study=each.row.study_instance_uid,
            )
    return len(changed)


def _rules(policy: Policy, ranking: Ranking) -> str:
    """What spoke, and which rules were in force."""
    spoke = ", ".join(said.rule for said in ranking.reasons)
    return f"{spoke} of rules {policy.rules_digest[:12]}".strip() if policy.rules_digest else spoke


def _shown(place: Place) -> str:
    return f"{place.lane} {place.score:g}"
