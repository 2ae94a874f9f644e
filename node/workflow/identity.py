"""Whose study it is, asked twice: when it closes, and at the gate before anything leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.config import Peer
from node.domain.model_card import Mode
from node.domain.patient import Patient, another, conflict
from node.domain.reconciliation import beyond
from node.domain.rejection import REJECTION_NOTE
from node.domain.study import Instance, StudyState
from node.domain.work import OutcomeState, ResultState
from node.store import events, identities, instances, outcomes, reconciliations, studies, versions
from node.store.database import Database
from node.store.instances import HeldInstance
from node.store.outbox import OutboxRow
from node.store.outcomes import Outcome
from node.store.studies import StudyRow
from node.workflow.policy import Policy

_TWO_PATIENTS = "instances of one study name different patients"


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate decides: SENT lets the object out, QUEUED waits, HELD and SUPERSEDED stop it."""

    state: ResultState
    reason: str

    @property
    def is_open(self) -> bool:
        """Whether the object may leave now."""
        return self.state is ResultState.SENT


def counted(held: Sequence[HeldInstance]) -> list[Instance]:
    """The described instances that say whose study it is.

    Not what we made, nor rejection notes, which may name the patient that it should not have been; and what is rejected
    only where nothing else is left.
    """
    said = [each for each in held if each.instance is not None and not each.ours and each.instance.rejects is None]
    in_use = [each for each in said if not each.rejected]
    return [each.instance for each in in_use or said if each.instance is not None]


def patient_of(db: Database, study: StudyRow, held: Sequence[HeldInstance]) -> tuple[Patient, str]:
    """Return whose study it is, and why a person has to decide that first (empty if nobody has).

    Two patients in one study are never one; nor is the patient changed silently, though all instances came again and
    agree. Once a person who was told so has released the study, the patient on whom they agree is its patient.
    """
    patient, reason = agreed_patient(counted(held))
    if reason or study.believed:
        return patient, reason
    moved = versions.moved_away(db, study.study_instance_uid)
    if moved:
        return patient, f"{moved} of its instances came again in another study. See in which they belong"
    before = [study.patient] if study.revision else versions.earlier_patients(db, study.study_instance_uid)
    known = [one for one in before if Patient() not in (one, patient)]
    # One who was merged into another is expected to come again as that one.
    survivor = identities.survivor(db, patient)
    same = [one for one in known if one.issuer == patient.issuer and identities.survivor(db, one) == survivor]
    difference = next(filter(None, (another(one, patient) for one in known if one not in same)), None)
    if difference is None:
        return patient, ""
    remedy = "See which is right, and send it again if it was the other"
    return patient, f"its instances came again and name another patient than before: {difference}. {remedy}"


def was_told(db: Database, study: StudyRow) -> bool:
    """Whether a held study tells whoever looks at it what its instances say of the patient now.

    Not if it is held for another reason, nor if something has come since; but who was told of two patients was asked to
    send it again.
    """
    if study.reason.startswith(_TWO_PATIENTS):
        return True
    told = [each.at for each in events.of_study(db, study.study_instance_uid) if each.after == StudyState.HELD]
    _, reason = patient_of(db, study, instances.of_study(db, study.study_instance_uid))
    return bool(reason) and study.reason.startswith(reason) and study.last_received.iso <= max(told, default="")


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
                remedy = "Correct it where it came from and send it again"
                return patients[0], f"{_TWO_PATIENTS}: {reason}. {remedy}"
    fields = {
        name: next((getattr(each, name) for each in patients if getattr(each, name)), "")
        for name in ("patient_id", "issuer", "name", "birth_date", "sex")
    }
    return Patient(**fields), ""


def destinations(db: Database, policy: Policy, outcome: Outcome) -> tuple[Peer, ...]:
    """Where the results of an outcome may go: what is listed for *every* input in its source's `results_to`.

    An input that was imported, or whose source is no longer configured, lists nothing; one that several peers sent with
    the same content (an archive that sends back what the scanner sent) lists what any of them does.
    """
    allowed: set[str] | None = None
    sent_by = versions.input_sources(db, outcome.id)
    if not sent_by and outcome.state is not OutcomeState.RESULT:
        # Nothing was read: what is told of that goes where everything of the study may go.
        sent_by = versions.study_sources(db, outcome.study_instance_uid)
    for names in sent_by:
        sources = filter(None, map(policy.settings.peer_named, names))
        listed = {destination for source in sources for destination in source.results_to}
        allowed = listed if allowed is None else allowed & listed
    return tuple(peer for peer in policy.settings.peers if peer.name in (allowed or set()))


def goes_along(db: Database, policy: Policy, other: Outcome, outcome: Outcome) -> bool:
    """Whether a result may be told of wherever another one goes: it is live, and may go to each of its destinations."""
    names = [{peer.name for peer in destinations(db, policy, each)} for each in (outcome, other)]
    return _is_live(policy, other) and names[0] <= names[1]


def _is_live(policy: Policy, outcome: Outcome) -> bool:
    settings = policy.settings.models.get(outcome.model)
    return outcome.mode is Mode.LIVE and settings is not None and settings.mode is Mode.LIVE


def gate(db: Database, policy: Policy, row: OutboxRow, patient: Patient) -> Gate:
    """Decide, just before sending, whether an object may still leave; `patient` is read from the object."""
    if row.kind == REJECTION_NOTE:
        return _gate_of_note(policy, row)
    outcome = outcomes.outcome(db, row.outcome_id)
    study = studies.study(db, row.study_instance_uid)
    if outcome is None or study is None or outcome.state is OutcomeState.SUPERSEDED:
        return Gate(ResultState.SUPERSEDED, "a newer revision or run took its place")
    if study.state is StudyState.HELD:
        return Gate(ResultState.HELD, f"the study is held: {study.reason}")
    if study.released:
        return Gate(ResultState.QUEUED, "the study was released; waits until it has been looked at again")
    if versions.has_stale_input(db, outcome.id):
        return Gate(ResultState.QUEUED, "a newer version of an input has come; waits for the study to close")
    named = reconciliations.named_patient(db, row.artifact_id, study.patient)
    filed = reconciliations.found(db, row.study_instance_uid, row.destination)
    said = next((more for each in (filed.filed if filed else ()) if (more := beyond(named, patient, each))), "")
    difference = conflict(patient, named) or (f"{said} that {row.destination} has otherwise" if said else "")
    if difference:
        return Gate(ResultState.HELD, f"the object names another patient than the study does now: {difference}")
    if told := told_otherwise(db, policy, study.patient, row.destination):
        return Gate(ResultState.HELD, told)
    if not _is_live(policy, outcome):
        return Gate(ResultState.HELD, f"the model {outcome.model} is not live; set [models.{outcome.model}] mode")
    if row.destination not in {peer.name for peer in destinations(db, policy, outcome)}:
        sources = ", ".join(outcomes.sources(db, outcome.id))
        return Gate(ResultState.HELD, f"results_to of {sources} does not list {row.destination}")
    return Gate(ResultState.SENT, "")


def told_otherwise(db: Database, policy: Policy, patient: Patient, destination: str) -> str:
    """Say why nothing of a patient may leave for a destination, by what hospital systems tell of them; or nothing.

    A result names the patient of the images it rests on. Of one who was merged into another nobody knows as whom the
    destination has these images now, unless it is asked.
    """
    if identities.is_disputed(db, patient):
        return (
            "the hospital's system says that this Patient ID is of somebody else: name and birth date differ. See which"
            " is right, and correct it where it is wrong, then `matins retry`"
        )
    peer = policy.settings.peer_named(destination)
    if identities.survivor(db, patient) != patient.patient_id and not (peer is not None and peer.reconcile):
        return (
            f"the patient was merged into another one, and nobody knows whether {destination} has done so. Set its"
            " `reconcile`, then `matins retry`; or have the study sent again from where it is corrected"
        )
    return ""


def _gate_of_note(policy: Policy, row: OutboxRow) -> Gate:
    """A note leaves though its study is held or has another patient now: it takes back what is filed as it was sent."""
    peer = policy.settings.peer_named(row.destination)
    if peer is None or not peer.rejection:
        return Gate(
            ResultState.HELD, f"{row.destination} takes no rejection notes; set its `rejection`, or delete there"
        )
    return Gate(ResultState.SENT, "")
