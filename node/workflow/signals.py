"""What speaks for and against a study's being complete, gathered from everything that is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node.config import Completeness
from node.domain.procedure_step import StepState
from node.domain.required import RequiredSeries
from node.domain.study import Series
from node.domain.time import Instant, elapsed_s
from node.store import events, instances, procedure_steps, studies
from node.store.database import Database
from node.store.instances import HeldInstance, Tally
from node.store.studies import StudyRow
from node.triage.completeness import Limits, Signals
from node.triage.required import met_by, why_not_whole
from node.triage.suitability import choose
from node.workflow.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the described series of a study are good for."""

    #: For each series that is required, the Series Instance UIDs of those that meet it.
    met: Mapping[RequiredSeries, tuple[str, ...]]
    #: For each model that reads early, the series that it would read and why that does not look whole (or nothing).
    early: Mapping[str, tuple[str, str]]


class Looks:
    """Looks at open studies, each kept until something happens to the study: reading every header takes a while."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[object, ...], Look]] = {}

    def at(
        self, db: Database, policy: Policy, study_instance_uid: str, tally: Tally, required: Sequence[RequiredSeries]
    ) -> Look:
        """Look at a study, or remember the look."""
        version = (events.latest_number(db, study_instance_uid), tally, tuple(required))
        kept = self._kept.get(study_instance_uid)
        if kept is None or kept[0] != version:
            kept = (version, _look(instances.of_study(db, study_instance_uid), policy, required))
            self._kept[study_instance_uid] = kept
        return kept[1]

    def keep_only(self, study_instance_uids: Sequence[str]) -> None:
        """Forget every other study."""
        self._kept = {uid: self._kept[uid] for uid in study_instance_uids if uid in self._kept}


def signals_of(db: Database, now: Instant, policy: Policy, study: StudyRow, looks: Looks) -> tuple[Signals, Limits]:
    """Return what is known of an open study, and the site's patience with its modalities."""
    uid = study.study_instance_uid
    tally = instances.tally(db, uid)
    required = required_of(policy, tally)
    met = looks.at(db, policy, uid, tally, required).met if required else {}
    steps = procedure_steps.of_study(db, uid)
    listed = procedure_steps.listed_series(db, uid) if steps else []
    partly = [series for series in listed if 0 < series.here < series.listed]
    signals = Signals(
        since_first_s=elapsed_s(study.opened, now),
        since_last_s=elapsed_s(study.last_received, now),
        received=tally.received,
        undescribed=tally.undescribed,
        expected=study.expected_count,
        force_requested=study.force_requested,
        closed_before=study.revision > 0 and not study.early,
        steps_in_progress=sum(step.state is StepState.IN_PROGRESS for step in steps),
        listed=sum(series.listed for series in listed),
        listed_here=sum(series.here for series in listed),
        partly_listed=sum(series.listed for series in partly),
        partly_here=sum(series.here for series in partly),
        discontinued=tuple(step.reason_code for step in steps if step.state is StepState.DISCONTINUED),
        required=tuple(each.name for each in required),
        required_missing=tuple(each.name for each in required if not met[each]),
        required_since_last_s=_required_since_last_s(db, now, study, met),
    )
    return signals, limits_of(policy, tally)


def limits_of(policy: Policy, tally: Tally) -> Limits:
    """The site's patience with a study: of several modalities the longest counts."""
    sections = _sections(policy, tally)
    return Limits(
        quiet_s=max(section.quiet_s for section in sections),
        forced_s=max(section.forced_s for section in sections),
        series_quiet_s=max(section.series_quiet_s for section in sections),
    )


def required_of(policy: Policy, tally: Tally) -> tuple[RequiredSeries, ...]:
    """Every series that the site requires of a study with these modalities."""
    return tuple(dict.fromkeys(each for section in _sections(policy, tally) for each in section.required))


def _sections(policy: Policy, tally: Tally) -> list[Completeness]:
    return [policy.settings.completeness_of(name) for name in tally.modalities or ("",)]


def described_series(held: Sequence[HeldInstance]) -> list[Series]:
    """The readable instances that are described, by series."""
    by_series: dict[str, list[HeldInstance]] = {}
    for each in held:
        if each.readable and each.instance is not None:
            by_series.setdefault(each.series_instance_uid, []).append(each)
    return [
        Series(series_instance_uid=uid, instances=tuple(each.instance for each in members if each.instance is not None))
        for uid, members in by_series.items()
    ]


def series_since_last_s(db: Database, now: Instant, study: StudyRow) -> Mapping[str, float]:
    """Seconds since the last image of each series came."""
    arrivals = studies.series_arrivals(db, study.study_instance_uid)
    return {uid: elapsed_s(moment, now) for uid, moment in arrivals.items()}


def _required_since_last_s(
    db: Database, now: Instant, study: StudyRow, met: Mapping[RequiredSeries, tuple[str, ...]]
) -> float:
    """Seconds for which every required series has been quiet; of several that meet one, the quietest counts."""
    if not met:
        return 0.0
    since_s = series_since_last_s(db, now, study)
    study_since_s = elapsed_s(study.last_received, now)
    return min(max((since_s.get(uid, study_since_s) for uid in uids), default=0.0) for uids in met.values())


def _look(held: Sequence[HeldInstance], policy: Policy, required: Sequence[RequiredSeries]) -> Look:
    series = described_series(held)
    whole = {each.series_instance_uid: each for each in series}
    early: dict[str, tuple[str, str]] = {}
    for model in policy.early_models:
        chosen = choose(series, model.card).chosen
        if chosen is not None:
            pending = any(each.state == "pending" and each.series_instance_uid == chosen for each in held)
            doubt = "not every instance is described" if pending else why_not_whole(whole[chosen])
            early[model.card.name] = (chosen, doubt)
    return Look(met={each: met_by(each, series) for each in required}, early=early)
