"""Work that others ask of us: whether a step is meant for us, and how it comes from its images to its results.

Nobody is asked anything here: what was claimed is looked at, and moved on in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from node.config import Peer, Settings
from node.config.perform import PerformSettings
from node.domain.model_card import Mode
from node.domain.patient import conflict
from node.domain.performance import Asked, GivenUp, Output, PerformanceState, asked_of
from node.domain.retrieval import Purpose
from node.domain.study import StudyState
from node.domain.time import Instant, elapsed_s
from node.domain.work import FINAL_OUTCOMES, OutcomeState, ResultState, WorkKind, WorkState
from node.store import artifacts, outbox, outcomes, performing, retrievals, studies, work_items
from node.store.database import Database
from node.store.outcomes import Outcome
from node.store.performing import Performance
from node.store.studies import StudyRow
from node.workflow import identity
from node.workflow.policy import Policy

_P = PerformanceState
#: Results in such a state are where they were to go.
_THERE = frozenset({ResultState.SENT, ResultState.COMMITTED})
_ON_THE_WAY = frozenset({ResultState.QUEUED, ResultState.HELD})
#: Why a model that was asked for has no result, as it is told; the first that holds counts.
_NO_RESULT = {
    OutcomeState.FAILED: (GivenUp.EQUIPMENT_FAILURE, "a model has failed"),
    OutcomeState.INCOMPLETE: (GivenUp.INPUT_INCOMPLETE, "the study never became complete enough"),
    OutcomeState.NOT_APPLICABLE: (GivenUp.TYPES_NOT_SUPPORTED, "no series suits a model"),
}


@dataclass(frozen=True, slots=True)
class _Stop:
    """A step cannot be done."""

    code: GivenUp
    reason: str


def is_meant(settings: PerformSettings, step: dict[str, Any]) -> bool:
    """Whether a step is meant for us: it names our station, or a workitem code of ours and no station."""
    asked = asked_of(step)
    if asked.stations:
        return settings.station in asked.stations and bool(settings.station)
    return any(f"{scheme}:{value}" in settings.models for value, scheme in asked.codes)


def advance(db: Database, now: Instant, policy: Policy, row: Performance) -> Performance:
    """Move a claimed step on as far as it has come; in the caller's transaction. Returns it as it is then."""
    for _ in PerformanceState:
        if not row.state.works:
            break
        before = row.state
        found = _stopped(now, policy, row) or _STEPS[row.state](db, now, policy, row, asked_of(row.step))
        if isinstance(found, _Stop):
            stop_retrieval(db, now, row)
            performing.move(db, now, row, _P.CANCELING, found.reason, code=found.code)
        elif found is not None:
            performing.move(db, now, row, found)
        row = performing.performance(db, row.id) or row
        if row.state is before:
            break
    return row


def outputs(db: Database, settings: Settings, row: Performance) -> list[Output]:
    """The results of the models that were asked for, and who has each; ours where nobody was to."""
    made: list[Output] = []
    for outcome in _results(db, _wanted(settings.perform, asked_of(row.step)), row.study_instance_uid):
        rows = outbox.of_outcome(db, outcome.id)
        for each in artifacts.of_outcome(db, outcome.id):
            if not each.sop_instance_uid:
                continue
            names = [one.destination for one in rows if one.artifact_id == each.id and one.state in _THERE]
            peers = filter(None, map(settings.peer_named, names))
            held_by = tuple(sorted(peer.ae_title for peer in peers))
            if held_by or not rows:
                made.append(
                    Output(
                        study_instance_uid=row.study_instance_uid,
                        series_instance_uid=each.series_instance_uid,
                        sop_class_uid=each.sop_class_uid,
                        sop_instance_uid=each.sop_instance_uid,
                        held_by=held_by or (settings.node.ae_title,),
                    )
                )
    return made


def told(db: Database, study_instance_uid: str) -> list[dict[str, Any]]:
    """The steps of others by which a study was to be read, as plain values, oldest first."""
    return [
        {
            "manager": each.manager,
            "step": each.ups,
            "state": each.state.value,
            "reason": each.reason,
            "found_at": each.found.iso,
            "ended_at": each.ended_at,
        }
        for each in performing.of_study(db, study_instance_uid)
    ]


def stop_retrieval(db: Database, now: Instant, row: Performance) -> None:
    """Ask for no more images of a step that is over; in the caller's transaction."""
    retrieval = retrievals.retrieval(db, row.retrieval_id) if row.retrieval_id else None
    if retrieval is not None and retrieval.is_open and not retrieval.started_at:
        work_items.cancel(
            db,
            now,
            WorkKind.FETCH,
            f"{retrievals.subject_prefix(retrieval.peer)}{retrieval.id}",
            "the step was given up",
        )


def _stopped(now: Instant, policy: Policy, row: Performance) -> _Stop | None:
    if row.cancel_asked:
        return _Stop(GivenUp.UNSPECIFIED, f"cancellation was requested: {row.cancel_asked}")
    limit_s = policy.settings.perform.limit_s
    if elapsed_s(row.found, now) > limit_s:
        return _Stop(GivenUp.UNSPECIFIED, f"not done within {limit_s:g} s")
    return None


def _claimed(
    db: Database, now: Instant, policy: Policy, row: Performance, asked: Asked
) -> _P | _Stop | None:  # fmt: skip
    """Whether it can be done at all, and where its images are."""
    if not asked.study_instance_uid:
        return _Stop(GivenUp.WRONG_ENTRY, "the step names no study, or several without saying which is meant")
    live = {model.card.name for model in policy.models if model.mode is Mode.LIVE}
    if not live:
        return _Stop(GivenUp.RESOURCE_INADEQUATE, "no model is live")
    if lacking := sorted(set(_wanted(policy.settings.perform, asked)) - live):
        return _Stop(GivenUp.RESOURCE_INADEQUATE, f"the model {lacking[0]} is not live")
    known = {peer.ae_title for peer in policy.settings.peers if "destination" in peer.roles}
    if strange := sorted(set(asked.destinations) - known):
        return _Stop(GivenUp.RESOURCE_INADEQUATE, f"the output destination {strange[0]} is not known here")
    study = studies.study(db, asked.study_instance_uid)
    here = retrievals.held_instances(db, asked.study_instance_uid)
    if study is not None and here and asked.instances <= here:
        if study.prior:
            # It lies here unread: as if a person had asked for it.
            studies.record_asked(db, asked.study_instance_uid)
            studies.request_closing(db, asked.study_instance_uid)
        return _P.FETCHING
    archive = _archive(policy.settings, asked, row.manager)
    if archive is None:
        return _Stop(GivenUp.INPUT_INCOMPLETE, "no archive is known here that could give the images")
    made = retrievals.record(db, now, asked.study_instance_uid, archive.name, Purpose.ASKED)
    performing.record_retrieval(db, row, made.id)
    return _P.FETCHING


def _fetching(
    db: Database, now: Instant, policy: Policy, row: Performance, asked: Asked  # noqa: ARG001
) -> _P | _Stop | None:  # fmt: skip
    """Whether the images are here, and the study has closed."""
    retrieval = retrievals.retrieval(db, row.retrieval_id) if row.retrieval_id else None
    study = studies.study(db, row.study_instance_uid)
    if retrieval is not None and retrieval.is_open:
        return None
    if asked.instances - retrievals.held_instances(db, row.study_instance_uid) or study is None:
        why = f": {retrieval.reason}" if retrieval else ""
        return _Stop(GivenUp.INPUT_INCOMPLETE, f"not all images of the input could be had{why}")
    if difference := _another(asked, study):
        return _Stop(GivenUp.WRONG_ENTRY, difference)
    return None if _waits(study) or study.prior else _P.READING


def _reading(
    db: Database, now: Instant, policy: Policy, row: Performance, asked: Asked  # noqa: ARG001
) -> _P | _Stop | None:  # fmt: skip
    """Whether the models are through, and with what."""
    study = studies.study(db, row.study_instance_uid)
    if study is None:
        return _Stop(GivenUp.INPUT_INCOMPLETE, "the study is no longer here")
    if difference := _another(asked, study):
        return _Stop(GivenUp.WRONG_ENTRY, difference)
    if _waits(study):
        return _P.FETCHING
    wanted = _wanted(policy.settings.perform, asked)
    found = _live(db, wanted, row.study_instance_uid)
    if any(each.state not in FINAL_OUTCOMES for each in found) or set(wanted) - {each.model for each in found}:
        return None
    read = [each for each in found if each.state is OutcomeState.RESULT]
    if read and (not wanted or len(read) == len(found)):
        return _P.DELIVERING
    if not found:
        return _Stop(GivenUp.TYPES_NOT_SUPPORTED, "no model looked at the study")
    for state, (code, words) in _NO_RESULT.items():
        if names := ", ".join(each.model for each in found if each.state is state):
            return _Stop(code, f"{words} ({names})")
    return None


def _delivering(
    db: Database, now: Instant, policy: Policy, row: Performance, asked: Asked  # noqa: ARG001
) -> _P | _Stop | None:  # fmt: skip
    """Whether every result is where it was to go."""
    study = studies.study(db, row.study_instance_uid)
    if study is None or (difference := _another(asked, study)):
        return _Stop(GivenUp.WRONG_ENTRY, difference if study else "the study is no longer here")
    wanted = _wanted(policy.settings.perform, asked)
    found = _results(db, wanted, row.study_instance_uid)
    if _waits(study) or not found:
        return _P.READING
    sent_to = {peer.name for peer in policy.settings.peers if peer.ae_title in asked.destinations}
    for outcome in found:
        allowed = {peer.name for peer in identity.destinations(db, policy, outcome)}
        if strange := sorted(sent_to - allowed):
            return _Stop(GivenUp.RESOURCE_INADEQUATE, f"results_to of the images' source does not list {strange[0]}")
        report = work_items.state(db, WorkKind.REPORT, outcome.id)
        if report is WorkState.PARKED:
            return _Stop(GivenUp.EQUIPMENT_FAILURE, "the results could not be written")
        if report is not WorkState.FINISHED:
            return None
        rows = [each for each in outbox.of_outcome(db, outcome.id) if not sent_to or each.destination in sent_to]
        if any(each.state in _ON_THE_WAY for each in rows):
            return None
        lost = [each for each in rows if each.state is ResultState.DEAD]
        if lost or (rows and not any(each.state in _THERE for each in rows)):
            return _Stop(GivenUp.EQUIPMENT_FAILURE, "a result could not be stored where it was to go")
    return _P.COMPLETING


_STEPS = {_P.CLAIMED: _claimed, _P.FETCHING: _fetching, _P.READING: _reading, _P.DELIVERING: _delivering}


def _another(asked: Asked, study: StudyRow) -> str:
    """Why the study is not of whom the step is about, in words that say nothing of them; empty if it is."""
    if study.state is StudyState.HELD:
        return "the study is held for a person: its images are in doubt"
    said = asked.patient
    if said.is_identified and study.patient.is_identified and conflict(said, study.patient):
        return "the images are of another patient than the step"
    if said.birth_date and study.patient.birth_date and said.birth_date != study.patient.birth_date:
        return "the images are of another patient than the step"
    return ""


def _waits(study: StudyRow) -> bool:
    return study.open or not study.revision or study.early or study.force_requested


def _wanted(settings: PerformSettings, asked: Asked) -> tuple[str, ...]:
    """The models that have to read; empty for all that suit."""
    named = [name for value, scheme in asked.codes for name in settings.models.get(f"{scheme}:{value}", ())]
    return tuple(dict.fromkeys(named))


def _live(db: Database, wanted: Sequence[str], study_instance_uid: str) -> list[Outcome]:
    found = outcomes.current(db, study_instance_uid)
    return [each for each in found if each.mode is Mode.LIVE and (not wanted or each.model in wanted)]


def _results(db: Database, wanted: Sequence[str], study_instance_uid: str) -> list[Outcome]:
    return [each for each in _live(db, wanted, study_instance_uid) if each.state is OutcomeState.RESULT]


def _archive(settings: Settings, asked: Asked, manager: str) -> Peer | None:
    """Who is asked for the images: the first that the step names and that is one of ours, else the manager itself."""
    archives = [peer for peer in settings.peers if "archive" in peer.roles]
    named = [peer for title in asked.sources for peer in archives if peer.ae_title == title]
    own = [peer for peer in archives if peer.name == manager]
    # Where the step says who has them and we know none of those, nobody else is asked.
    return next(iter(named or own or ([] if asked.sources else archives)), None)
