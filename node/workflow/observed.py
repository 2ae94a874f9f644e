"""A scenario made of what the node itself has seen: who comes when, what models find, how long they take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from math import ceil
from statistics import fmean, stdev

from node.domain.priority import Lane
from node.domain.rule import comparisons, reads_findings
from node.domain.scenario import (
    HOURS,
    Arrivals,
    Discipline,
    Disease,
    Duration,
    Kind,
    Room,
    Scenario,
    SimulatedModel,
    Spread,
)
from node.domain.time import Instant
from node.errors import Failed
from node.store import impact as seen
from node.store.database import Database
from node.store.impact import ArrivedStudy, ModelAnswer
from node.workflow.order_facts import ordered_lanes
from node.workflow.policy import Policy

#: Fewer readings say little of how long they take.
_FEWEST_READINGS = 30
#: Minutes of a reading where nobody tells them: round numbers of ours, to be put right by who knows the room.
_GUESSED_MIN = {"CR": 3.0, "DX": 3.0, "MG": 5.0, "US": 8.0, "CT": 12.0, "MR": 15.0, "PT": 20.0}
_OTHER_GUESS_MIN = 10.0
_GUESSED_DEVIATION = 0.6
#: What is taken for granted of a model, whose card tells no more; and of the room.
_SENSITIVITY = _SPECIFICITY = 0.9
_MOST_TRAFFIC = 0.85
#: Points of a model that no rule asks for: what it would be worth to rank by it.
_POINTS = 50.0
_LEAST_PREVALENCE, _MOST_PREVALENCE = 0.001, 0.9


def observed_scenario(db: Database, now: Instant, policy: Policy, days: int) -> tuple[Scenario, list[str]]:
    """Return the scenario of the last days, and a note for everything in it that was not seen but taken for granted.

    Raises:
        Failed: no study came in that time.
    """
    since = now.wall - timedelta(days=days)
    studies = seen.arrived(db, replace(now, wall=since).iso)
    if not studies:
        raise Failed(f"no study came in the last {days} days; `matins simulate --example reading-room` needs none")
    first = max(since, studies[0].arrived_at)
    hours = max((now.wall - first).total_seconds() / 3600, 1.0)
    by_hour = Counter(each.arrived_at.astimezone().hour for each in studies)
    kinds, notes = _kinds(studies, ordered_lanes(db, [each.study_instance_uid for each in studies]))
    diseases, models, more = _models(seen.answers(db, replace(now, wall=since).iso), policy)
    scenario = Scenario(
        title=f"This node, the last {days} days: {len(studies)} studies",
        arrivals=Arrivals(per_hour=len(studies) / hours, by_hour=tuple(float(by_hour[hour]) for hour in range(HOURS))),
        kinds=kinds,
        diseases=diseases,
        models=models,
        disciplines=(
            Discipline(
                name="Matins",
                points_per_minute=policy.settings.rank.points_per_minute,
                findings_maximum=policy.settings.rank.findings_maximum,
            ),
        ),
    )
    readers = max(1, ceil(scenario.traffic / _MOST_TRAFFIC))
    notes.append(f"room.radiologists: {readers} keep up with what comes; nobody told how many read, and when")
    return replace(scenario, room=Room(radiologists=readers)), [*notes, *more]


def _kinds(studies: Sequence[ArrivedStudy], ordered: Mapping[str, Lane]) -> tuple[tuple[Kind, ...], list[str]]:
    """A kind for each modality."""
    by_modality: dict[str, list[ArrivedStudy]] = defaultdict(list)
    for study in studies:
        by_modality[study.modality or "unknown"].append(study)
    kinds, notes = [], []
    for modality, own in sorted(by_modality.items()):
        lanes = Counter(ordered[each.study_instance_uid] for each in own)
        minutes = [each.reading_min for each in own if each.reading_min]
        if len(minutes) >= _FEWEST_READINGS:
            reading = _lognormal(minutes)
        else:
            mean = _GUESSED_MIN.get(modality, _OTHER_GUESS_MIN)
            reading = Duration(mean_min=mean, spread=Spread.LOGNORMAL, deviation_min=_GUESSED_DEVIATION * mean)
            notes.append(f"kinds: {mean:g} minutes to read {modality} are a guess; {len(minutes)} readings were told")
        kinds.append(
            Kind(
                name=modality,
                reading=reading,
                share=len(own) / len(studies),
                stat=lanes[Lane.STAT] / len(own),
                urgent=lanes[Lane.URGENT] / len(own),
            )
        )
    return tuple(kinds), notes


def _models(
    answers: Sequence[ModelAnswer], policy: Policy
) -> tuple[tuple[Disease, ...], tuple[SimulatedModel, ...], list[str]]:
    """A model for each that gave a result, and what it looks for as its disease."""
    by_model: dict[str, list[ModelAnswer]] = defaultdict(list)
    for answer in answers:
        by_model[answer.model].append(answer)
    diseases, models, notes = [], [], []
    for name, own in sorted(by_model.items()):
        minutes = [each.minutes for each in own if each.minutes is not None]
        if not minutes:
            continue
        flagged = sum(each.found for each in own) / len(minutes)
        worth = _worth(policy, name)
        if worth is None:
            notes.append(f"models: no rule asks {name}; {_POINTS:g} points times its probability are a guess")
            worth = (None, 0.0, _POINTS)
        disease = f"what {name} finds"
        diseases.append(
            Disease(
                name=disease,
                prevalence=_prevalence(flagged),
                kinds=tuple(sorted({each.modality or "unknown" for each in own})),
            )
        )
        models.append(
            SimulatedModel(
                name=name,
                disease=disease,
                sensitivity=_SENSITIVITY,
                specificity=_SPECIFICITY,
                time=_lognormal(minutes),
                failure_rate=1 - len(minutes) / len(own),
                lane=worth[0],
                points_if_flagged=worth[1],
                points=worth[2],
            )
        )
        notes.append(
            f"models: {name} found something in {flagged:.1%} of {len(minutes)} studies; sensitivity {_SENSITIVITY:g}"
            f" and specificity {_SPECIFICITY:g} are a guess, from which the prevalence follows"
        )
    return tuple(diseases), tuple(models), notes


def _worth(policy: Policy, model: str) -> tuple[Lane | None, float, float] | None:
    """What the rules that ask a model give at most: a lane, points, and points times the probability."""
    asking = [
        each.rule
        for each in policy.rules
        if reads_findings(each.rule) and any(one.model in ("", model) for one in comparisons(each.rule.when))
    ]
    if not asking:
        return None
    raises = any(rule.lane not in (None, Lane.ROUTINE) for rule in asking)
    weights = [rule.weight.points for rule in asking if rule.weight is not None]
    # A model raises by one lane and to URGENT alone, whatever the rule says.
    lane = Lane.URGENT if raises else None
    points, weighted = max(rule.points for rule in asking), max(weights, default=0.0)
    return (lane, points, weighted) if lane or points or weighted else None


def _prevalence(flagged: float) -> float:
    """From how much is flagged to how much there is (Rogan and Gladen 1978)."""
    estimate = (flagged + _SPECIFICITY - 1) / (_SENSITIVITY + _SPECIFICITY - 1)
    return min(max(estimate, _LEAST_PREVALENCE), _MOST_PREVALENCE)


def _lognormal(minutes: Sequence[float]) -> Duration:
    mean = fmean(minutes)
    deviation = stdev(minutes) if len(minutes) > 1 else 0.0
    if mean > 0 and deviation > 0:
        return Duration(mean_min=mean, spread=Spread.LOGNORMAL, deviation_min=deviation)
    return Duration(mean_min=mean, spread=Spread.FIXED)
