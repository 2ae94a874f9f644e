"""Whose study it is, asked twice: when it closes, and at the gate before anything leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.config import Peer
from node.domain.model_card import Mode
from node.domain.patient import Patient, conflict
from node.domain.study import Instance, StudyState
from node.domain.work import OutcomeState, ResultState
from node.store import outcomes, studies
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.store.outcomes import Outcome
from node.workflow.policy import Policy


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate decides: SENT lets the object out, QUEUED waits, HELD and SUPERSEDED stop it."""

    state: ResultState
    reason: str

    @property
    def is_open(self) -> bool:
        """Whether the object may leave now."""
        return self.state is ResultState.SENT


def agreed_patient(described: Sequence[Instance]) -> tuple[Patient, str]:
    """Return the patient of all instances, and why they do not agree (empty if they do).

    The fields are taken from the first instance that knows them.
    """
    patients = list(dict.fromkeys(instance.patient for instance in described))
    if not patients:
        return Patient(), ""
    for index, one in enumerate(patients):
        for other in patients[index + 1 :]:
            reason = conflict(one, other)
            if reason:
                return patients[0], f"instances of one study name different patients: {reason}"
    fields = {
        name: next((getattr(each, name) for each in patients if getattr(each, name)), "")
        for name in ("patient_id", "issuer", "name", "birth_date", "sex")
    }
    return Patient(**fields), ""


def destinations(db: Database, policy: Policy, outcome: Outcome) -> tuple[Peer, ...]:
    """Where the results of an outcome may go: what *every* source of its inputs lists in `results_to`.

    An input that was imported, or whose source is no longer configured, lists nothing.
    """
    allowed: set[str] | None = None
    for name in outcomes.sources(db, outcome.id):
        source = policy.settings.peer_named(name)
        listed = set(source.results_to) if source else set()
        allowed = listed if allowed is None else allowed & listed
    return tuple(peer for peer in policy.settings.peers if peer.name in (allowed or set()))


def gate(db: Database, policy: Policy, row: OutboxRow, patient: Patient) -> Gate:
    """Decide, just before sending, whether an object may still leave; `patient` is read from the object."""
    outcome = outcomes.outcome(db, row.outcome_id)
    study = studies.study(db, row.study_instance_uid)
    if outcome is None or study is None or outcome.state is OutcomeState.SUPERSEDED:
        return Gate(ResultState.SUPERSEDED, "a newer revision or run took its place")
    if study.state is StudyState.HELD:
        return Gate(ResultState.HELD, f"the study is held: {study.reason}")
    if outcomes.has_stale_input(db, outcome.id):
        return Gate(ResultState.QUEUED, "a newer version of an input has come; waits for the study to close")
    difference = conflict(patient, study.patient)
    if difference:
        return Gate(ResultState.HELD, f"the object names another patient than the study does now: {difference}")
    settings = policy.settings.models.get(outcome.model)
    if outcome.mode is not Mode.LIVE or settings is None or settings.mode is not Mode.LIVE:
        return Gate(ResultState.HELD, f"the model {outcome.model} is not live; set [models.{outcome.model}] mode")
    if row.destination not in {peer.name for peer in destinations(db, policy, outcome)}:
        sources = ", ".join(outcomes.sources(db, outcome.id))
        return Gate(ResultState.HELD, f"results_to of {sources} does not list {row.destination}")
    return Gate(ResultState.SENT, "")
