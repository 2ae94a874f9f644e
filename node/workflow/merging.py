"""Who is whom, as hospital systems tell it: merged identifiers and corrected demographics, laid over what came."""

from __future__ import annotations

from dataclasses import replace

from node.domain.patient import Patient, is_another_person, same_name
from node.domain.time import Instant
from node.errors import Failed
from node.store import events, history, identities, reading_list
from node.store.database import Database
from node.workflow import ranking
from node.workflow.policy import Policy


def merge(
    db: Database, now: Instant, policy: Policy, patient: Patient, survivor: Patient, *, told_by: str
) -> list[str]:
    """Let `patient` be known as `survivor` from now on, in the caller's transaction; return the studies ranked anew.

    What is so already changes nothing. Raises:
        Failed: it must not be: an ID of nobody, two issuers, a circle, or an ID that was merged into another.
    """
    if not (patient.is_identified and survivor.is_identified and patient.issuer and survivor.issuer):
        raise Failed("an ID that stands for nobody, or that nobody issued, is never merged")
    if patient.issuer != survivor.issuer:
        raise Failed("two issuers: the patient of one hospital is never merged into that of another")
    before, after = identities.survivor(db, patient), identities.survivor(db, survivor)
    if before == after:
        if before == patient.patient_id and patient.patient_id != survivor.patient_id:
            raise Failed("a circle: the one that is to survive was merged into this one; separate them first")
        return []
    if before != patient.patient_id:
        raise Failed("it was merged into another one before; separate them first")
    identities.record_move(db, now, patient, survivor.patient_id, told_by=told_by)
    return _moved(db, now, policy, survivor, "merged", told_by)


def separate(
    db: Database, now: Instant, policy: Policy, patient: Patient, other: Patient, *, told_by: str
) -> list[str]:
    """Take a merge of the two back, whichever survived; `other` may be without ID: whatever it was merged into.

    In the caller's transaction. Raises:
        Failed: they are not merged with one another.
    """
    waiting = reading_list.unread_of_patient(db, patient)
    ended = identities.end_move(db, now, patient, other.patient_id, told_by=told_by)
    if not ended and other.is_identified and patient.issuer == other.issuer:
        ended = identities.end_move(db, now, other, patient.patient_id, told_by=told_by)
    if not ended:
        raise Failed("the two are not merged with one another")
    return _tell(db, now, policy, waiting, "separated", told_by)


def correct(
    db: Database, now: Instant, policy: Policy, patient: Patient, deleted: tuple[str, ...] = (), *, told_by: str
) -> list[str]:
    """Keep whom a hospital system says that an identifier means, in the caller's transaction.

    A birth date or sex that it takes the place of is a former one of the same patient, unless the name is another's and
    the birth date is not the same: then it may be another patient, and nothing told of the one is used for the other.
    Where both are another's than the system has told before, the ID was given to somebody else: it is merged with none
    any more, and what was told of it without a birth date is nobody's. Returns the studies ranked anew.
    """
    if not patient.is_identified or not patient.issuer:
        return []
    before = identities.told(db, patient)
    lasting = None if before is None or _may_be_another(before, patient) else before
    kept = {
        field: getattr(patient, field) or ("" if lasting is None or field in deleted else getattr(lasting, field))
        for field in identities.DEMOGRAPHICS
    }
    after = replace(patient, **kept)
    known = [*([before] if before else ()), *identities.demographics_of_studies(db, patient)]
    waiting = reading_list.unread_of_patient(db, patient)
    if before is not None and is_another_person(before, after):
        identities.forget_former(db, patient)
        identities.end_moves(db, now, patient, told_by=told_by)
        history.disown(db, now, patient)
    identities.record_told(db, now, after, told_by=told_by)
    corrected = False
    for one in known:
        if not _may_be_another(one, after):
            for what in ("birth_date", "sex"):
                former, value = getattr(one, what), getattr(after, what)
                if former and value and former != value:
                    identities.record_former(db, patient, what, former)
                    corrected = True
    disputed = any(is_another_person(one, after) for one in known)
    if before == after or not (corrected or disputed):
        return []
    return _tell(db, now, policy, waiting, "corrected", told_by)


def _may_be_another(one: Patient, other: Patient) -> bool:
    """Whether the names are two persons', and no birth date says that it is one all the same."""
    reborn = not one.birth_date or one.birth_date != other.birth_date
    return reborn and same_name(one.name, other.name) is False


def _moved(db: Database, now: Instant, policy: Policy, patient: Patient, how: str, told_by: str) -> list[str]:
    return _tell(db, now, policy, reading_list.unread_of_patient(db, patient), how, told_by)


def _tell(db: Database, now: Instant, policy: Policy, waiting: list[str], how: str, told_by: str) -> list[str]:
    """Note it with each study of the patient that waits, and rank it anew; once where there is none."""
    for uid in waiting or ("",):
        events.record(db, now, "identity", told_by, after=how, reason=f"told by {told_by}", study=uid)
    for uid in waiting:
        ranking.rerank(db, now, policy, uid)
    return waiting
