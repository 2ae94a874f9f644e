"""How long ago the patient last had a study of the same modality, as far as studies that are here tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from node.domain.patient import same_name
from node.store import earlier_studies, identities
from node.store.database import Database
from node.store.studies import StudyRow


def prior_days_of(
    db: Database, rows: Sequence[StudyRow], modalities: Mapping[str, Sequence[str]]
) -> dict[str, float | None]:
    """Days between each of these studies and the latest earlier one of a modality of its own; `None`: none is known.

    As for any prior: the patient is identified, and issuer, birth date, sex and name do not speak against it.
    """
    made = {row.study_instance_uid: _day(row.order.study_date) for row in rows}
    known = {
        each.study_instance_uid: each for each in rows if each.patient.is_identified and made[each.study_instance_uid]
    }
    patients = {uid: row.patient for uid, row in known.items()}
    ids = identities.identifiers_of(db, patients)
    asked = [
        (uid, one, row.patient.issuer, row.order.study_date.strip()) for uid, row in known.items() for one in ids[uid]
    ]
    found = earlier_studies.of(db, asked)
    corrections = identities.settled_of(db, patients, ids) if found else {}
    days: dict[str, float | None] = dict.fromkeys(made)
    for each in found:
        uid, before = each.asked_for, _day(each.study_date)
        mine, now = patients[uid], made[uid]
        if days[uid] is not None or before is None or now is None or each.modality not in modalities[uid]:
            continue
        against = identities.why_not(mine, each.patient, corrections.get(uid, {}))
        if not against and same_name(mine.name, each.patient.name) is not False:
            days[uid] = float((now - before).days)
    return days


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text.strip(), "%Y%m%d").date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return None
