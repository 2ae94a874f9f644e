"""What the places of studies rest on, read from the store for many of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from node.domain.change import Change
from node.domain.history import Fact
from node.domain.model_card import Mode
from node.domain.rule import DAYS
from node.store import findings, history, instances
from node.store.database import Database
from node.store.studies import StudyRow
from node.triage.facts import ModelResult, RankFacts
from node.workflow import changed, order_facts
from node.workflow.prior_days import prior_days_of


def facts_of(db: Database, rows: Sequence[StudyRow]) -> dict[str, RankFacts]:
    """Everything that is known now of each of these studies, by UID: a few queries, however many they are."""
    uids = [row.study_instance_uid for row in rows]
    kinds = instances.kinds_of(db, uids)
    known = history.facts_of(db, {row.study_instance_uid: row.patient for row in rows})
    results = findings.results_of(db, uids)
    compared = changed.live_changes_of(db, rows)
    priorities = order_facts.requested_priorities(db, rows)
    days = prior_days_of(db, rows, {uid: modalities for uid, (modalities, _) in kinds.items()})
    each = [(row.study_instance_uid, row) for row in rows]
    return {
        uid: _facts(row, *kinds[uid], known, results, priorities[uid], compared[uid], days[uid]) for uid, row in each
    }


def _facts(
    row: StudyRow,
    modalities: tuple[str, ...],
    body_parts: tuple[str, ...],
    known: Mapping[str, Sequence[Fact]],
    results: Mapping[str, Mapping[int, findings.Result]],
    requested_priority: str,
    changes: tuple[Change, ...],
    prior_days: float | None,
) -> RankFacts:
    uid = row.study_instance_uid
    return RankFacts(
        study_instance_uid=uid,
        arrived_at=row.first_received.wall,
        hour_of_day=row.first_received.wall.astimezone().hour,
        day_of_week=DAYS[row.first_received.wall.astimezone().weekday()],
        modalities=modalities,
        body_parts=body_parts,
        study_description=row.order.study_description,
        patient_age_years=row.order.patient_age_years,
        patient_sex=row.patient.sex,
        prior_days=prior_days,
        requested_priority=requested_priority,
        history=tuple(known[uid]),
        results=tuple(
            ModelResult(model=model, mode=Mode(mode), findings=tuple(found))
            for model, mode, found in results[uid].values()
        ),
        changes=changes,
    )
