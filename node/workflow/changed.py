"""What is known to have changed since priors: comparisons that still stand."""

from __future__ import annotations

from collections.abc import Sequence

from node.domain.change import Change
from node.domain.model_card import Mode
from node.store import changes, studies
from node.store.changes import Comparison
from node.store.database import Database
from node.store.studies import StudyRow
from node.workflow.earlier import is_of_same_patient


def comparisons_of(db: Database, rows: Sequence[StudyRow]) -> dict[str, list[Comparison]]:
    """The comparisons of each of these studies, by UID.

    One stands while both results do, and while both studies are of one patient beyond doubt: what came to light since
    (a conflict, a correction, a merge taken back) counts.
    """
    found: dict[str, list[Comparison]] = {row.study_instance_uid: [] for row in rows}
    made = changes.standing(db, list(found))
    if not made:
        return found
    named = {each.prior_study_instance_uid for each in made}
    known = {row.study_instance_uid: row for row in studies.some(db, sorted(named))}
    own = {row.study_instance_uid: row for row in rows}
    for each in made:
        prior = known.get(each.prior_study_instance_uid)
        if prior is not None and is_of_same_patient(db, own[each.study_instance_uid], prior):
            found[each.study_instance_uid].append(each)
    return found


def live_changes_of(db: Database, rows: Sequence[StudyRow]) -> dict[str, tuple[Change, ...]]:
    """What live models see changed in each of these studies, by UID: what rules may rest on."""
    return {
        uid: tuple(change for each in made if each.mode is Mode.LIVE for change in each.changes)
        for uid, made in comparisons_of(db, rows).items()
    }


def changes_of_outcome(db: Database, study_instance_uid: str, outcome_id: int) -> tuple[Change, ...]:
    """What one outcome shows changed, as it stands now."""
    study = studies.study(db, study_instance_uid)
    made = comparisons_of(db, [study])[study_instance_uid] if study is not None else []
    return tuple(change for each in made if each.outcome_id == outcome_id for change in each.changes)
