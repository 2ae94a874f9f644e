"""Studies of a night with everything that was ever known of them, and when: what a replay ranks them by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from node.domain.change import Change
from node.domain.history import Fact
from node.domain.model_card import Mode
from node.domain.pin import Pin
from node.store import changes, findings, history, reading_list, studies, timeline
from node.store.database import Database
from node.store.studies import StudyRow
from node.store.timeline import Timeline
from node.triage.facts import ModelResult, RankFacts
from node.triage.rank import Ranking, rank
from node.triage.replay import Course
from node.triage.rules import CompiledRule
from node.workflow.policy import Policy
from node.workflow.rank_facts import facts_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """One study with everything that was ever known of it, and when. Moments are ISO 8601 UTC."""

    row: StudyRow
    #: When it joined the list, on the scale of `store.waiting`.
    queued_s: float
    #: What is known now.
    facts: RankFacts
    timeline: Timeline
    #: (fact, told at, superseded at or empty).
    told: tuple[tuple[Fact, str, str], ...]
    #: Outcome → result, those that were superseded since too.
    results: dict[int, findings.Result]
    #: (made at, changes).
    compared: tuple[tuple[str, tuple[Change, ...]], ...]

    def known_at(self, at: str) -> RankFacts:
        """What was known at a moment; order and identity as they are now."""
        made = {change for made_at, found in self.compared if made_at <= at for change in found}
        return replace(
            self.facts,
            history=tuple(fact for fact, since, until in self.told if since <= at and (not until or at < until)),
            results=tuple(
                ModelResult(model=model, mode=Mode(mode), findings=tuple(found))
                for number, (model, mode, found) in self.results.items()
                if any(span.holds(at) for span in self.timeline.results.get(number, ()))
            ),
            changes=tuple(change for change in self.facts.changes if change in made),
        )

    def ranked_at(self, at: str, policy: Policy, rules: Sequence[CompiledRule]) -> Ranking:
        """Its place at a moment, had these rules been in force."""
        section = policy.settings.rank
        pinned = next((each for each in reversed(self.timeline.pins) if each.span.holds(at)), None)
        pin = None
        if pinned is not None:
            when = datetime.fromisoformat(pinned.span.since)
            pin = Pin(lane=pinned.lane, by=pinned.by, at=when, at_s=when.timestamp(), why=pinned.why)
        return rank(
            self.known_at(at),
            rules,
            points_per_minute=section.points_per_minute,
            findings_maximum=section.findings_maximum,
            queued_s=self.queued_s,
            pin=pin,
        )

    def course(self, policy: Policy, rules: Sequence[CompiledRule], until: str) -> Course:
        """Its way through the night, had these rules been in force."""
        listed_at = self.timeline.listed_at
        spans = [span for found in self.timeline.results.values() for span in found]
        spans += [each.span for each in self.timeline.pins]
        moments = {moment for span in spans for moment in (span.since, span.until)}
        moments |= {moment for _, since, superseded in self.told for moment in (since, superseded)}
        moments |= {made_at for made_at, _ in self.compared}
        times = [listed_at, *sorted(each for each in moments if listed_at < each <= until)]
        return Course(
            study_instance_uid=self.row.study_instance_uid,
            arrived_at=self.row.first_received.wall,
            listed_at=datetime.fromisoformat(listed_at),
            positions=tuple((datetime.fromisoformat(at), self.ranked_at(at, policy, rules).place) for at in times),
        )


def remembered(db: Database, since: datetime, until: datetime) -> list[Remembered]:
    """Every study that stood in the list at some time between the two, but for priors."""
    uids = timeline.studies_between(db, iso(since), iso(until))
    rows = studies.some(db, uids)
    facts, places = facts_of(db, rows), reading_list.places(db, uids)
    results = findings.results_of(db, uids, ever=True)
    compared: dict[str, list[tuple[str, tuple[Change, ...]]]] = {}
    for each in changes.standing(db, uids):
        compared.setdefault(each.study_instance_uid, []).append((each.made_at, each.changes))
    made = []
    for row in rows:
        uid = row.study_instance_uid
        found = timeline.of_study(db, uid)
        if not found.listed_at or found.listed_at > iso(until):
            continue
        queued_s = places[uid].queued_s
        made.append(
            Remembered(
                row=row,
                queued_s=row.first_received.wall.timestamp() if queued_s is None else queued_s,
                facts=facts[uid],
                timeline=found,
                told=tuple(history.times_of(db, row.patient, study=uid)),
                results=results[uid],
                compared=tuple(compared.get(uid, ())),
            )
        )
    return made


def iso(moment: datetime) -> str:
    """A moment as events have it: sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
