"""Whose study it is and what was ordered, as its instances say; recorded before anything is read."""

from __future__ import annotations

from collections.abc import Sequence

from node.domain.priority import lane_of_requested_priority
from node.domain.study import Instance, Order
from node.domain.time import Instant
from node.store import history, studies
from node.store.database import Database
from node.store.instances import HeldInstance
from node.workflow import identity


def record(db: Database, now: Instant, study_instance_uid: str, held: Sequence[HeldInstance]) -> str:
    """Record patient, order and history of a study; say why its patients conflict, and then no history is kept."""
    study = studies.study(db, study_instance_uid)
    assert study is not None
    described = identity.counted(held)
    patient, difference = identity.patient_of(db, study, held)
    studies.record_identity(db, study_instance_uid, patient, order_of(described), _modality(held))
    if not difference:
        facts = [fact for instance in described for fact in instance.order.facts]
        history.record(db, now, patient, list(dict.fromkeys(facts)), study=study_instance_uid)
    return difference


def _modality(held: Sequence[HeldInstance]) -> str:
    names = [each.instance.modality for each in held if each.readable and each.instance is not None]
    return max(sorted(set(names)), key=names.count) if names else ""


def order_of(described: Sequence[Instance]) -> Order:
    """What the study says of itself; the most urgent priority of any instance counts."""
    orders = [instance.order for instance in described]
    if not orders:
        return Order()
    texts = {
        name: next((getattr(order, name) for order in orders if getattr(order, name)), "")
        for name in ("study_date", "study_time", "study_description", "study_id", "accession_number")
    }
    priorities = [order.requested_priority for order in orders if order.requested_priority]
    return Order(
        **texts,
        requested_priority=min(priorities, key=lambda text: lane_of_requested_priority(text).order, default=""),
        patient_age_years=next((o.patient_age_years for o in orders if o.patient_age_years is not None), None),
        facts=tuple(dict.fromkeys(fact for order in orders for fact in order.facts)),
    )
