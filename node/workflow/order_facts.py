"""What a RIS has said of the orders of studies, as their places rest on it."""

from __future__ import annotations

from collections.abc import Sequence

from node.domain.priority import Lane, lane_of_requested_priority
from node.domain.told import ToldOrder
from node.store import identities, orders, studies
from node.store.database import Database
from node.store.orders import OrderRow
from node.store.studies import StudyRow


def of_studies(db: Database, rows: Sequence[StudyRow]) -> dict[str, list[OrderRow]]:
    """What was said of the order of each study, by UID, the latest first; of an unidentified patient nothing."""
    patients = {row.study_instance_uid: row.patient for row in rows if row.patient.is_identified}
    ids = identities.identifiers_of(db, patients)
    found = orders.of_patients(db, patients, ids)
    corrections = identities.settled_of(db, {uid: patients[uid] for uid in found}, ids)
    return {
        row.study_instance_uid: [
            each
            for each in found.get(row.study_instance_uid, ())
            if _is_of(row, each)
            and not identities.why_not(row.patient, each.patient, corrections.get(row.study_instance_uid, {}))
        ]
        for row in rows
    }


def requested_priorities(db: Database, rows: Sequence[StudyRow]) -> dict[str, str]:
    """Requested Procedure Priority (0040,1003) of each study by UID, as the RIS and the objects say it.

    What the RIS says after the study came takes the place of what the objects say; of what it said before, of several
    orders, and of what it says of another UID under the same accession number, the more urgent counts. Where orders
    name the study by its UID, those under its accession number alone are not asked. A cancelled order says nothing:
    the images are there, and somebody may wait for them.
    """
    told = of_studies(db, rows)
    return {row.study_instance_uid: _priority(row, told[row.study_instance_uid]) for row in rows}


def ordered_lanes(db: Database, uids: Sequence[str]) -> dict[str, Lane]:
    """The lane in which each of these studies was ordered; of one that is not there any more, routine."""
    rows = studies.matching(db, uids=uids, accession_number="", patient_id="", limit=len(uids)) if uids else []
    said = requested_priorities(db, rows)
    return {uid: lane_of_requested_priority(said.get(uid, "")) for uid in uids}


def names_another_study(row: StudyRow, study_instance_uid: str) -> bool:
    """Whether what is told under the study's accession number is told of another UID: a part of the same request."""
    return study_instance_uid not in ("", row.study_instance_uid)


def shares_accession_number(db: Database, row: StudyRow) -> bool:
    """Whether the patient has another study, no prior, under the same accession number."""
    asked = ToldOrder(accession_number=row.order.accession_number)
    found = studies.some(db, orders.studies_meant(db, row.patient, identities.identifiers(db, row.patient), asked))
    return any(each.study_instance_uid != row.study_instance_uid and not each.prior for each in found)


def _priority(row: StudyRow, told: Sequence[OrderRow]) -> str:
    said = _by_own_orders(row, [each for each in told if not names_another_study(row, each.study_instance_uid)])
    beside = [each.priority for each in told if names_another_study(row, each.study_instance_uid)]
    # A modality that made a UID of its own: what the order says raises the study, and never lowers it.
    return min(filter(None, (said, *beside)), key=lambda text: lane_of_requested_priority(text).order, default="")


def _by_own_orders(row: StudyRow, told: Sequence[OrderRow]) -> str:
    said = row.order.requested_priority
    in_force = _in_force(told)
    if naming := [each for each in in_force if each.number and each.study_instance_uid]:
        in_force = naming
    asked = [each.priority for each in in_force]
    if not any(each.priority_recorded_at > row.first_received.iso for each in in_force):
        asked.append(said)
    return min(filter(None, asked), key=lambda text: lane_of_requested_priority(text).order, default="")


def _in_force(told: Sequence[OrderRow]) -> list[OrderRow]:
    """The newest word on each order that is not cancelled; what has no number is of the order that was told next."""
    spoken = sorted((each for each in told if each.priority_recorded_at), key=_newness)
    newest = {each.number: each for each in spoken}
    if spoken and spoken[-1].number:
        newest.pop("", None)
    return [each for each in newest.values() if each.priority]


def _newness(each: OrderRow) -> tuple[str, int]:
    return each.priority_recorded_at, each.id


def _is_of(row: StudyRow, order: OrderRow) -> bool:
    if order.study_instance_uid == row.study_instance_uid:
        return True
    return bool(order.accession_number) and order.accession_number == row.order.accession_number
