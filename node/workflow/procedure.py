"""What a modality tells of its own work (MPPS) and what that sets off."""

from __future__ import annotations

from node.domain.procedure_step import WRONG_ENTRY, StepState, shown_code
from node.domain.study import StudyState
from node.domain.time import Instant
from node.store import procedure_steps, studies
from node.store.database import Database
from node.store.procedure_steps import Listed, is_wrong_entry


def changed(
    db: Database, now: Instant, step: str, after: StepState, listed: Listed | None, *, reason_code: str = ""
) -> None:
    """Record a change of a step that is IN PROGRESS; a wrong worklist entry holds its studies at once.

    Inside the caller's transaction.
    """
    procedure_steps.update(db, now, step, after, listed, reason_code=reason_code)
    for uid in procedure_steps.studies_of(db, step):
        if names_wrong_entry(db, uid):
            hold(db, now, uid)


def names_wrong_entry(db: Database, study_instance_uid: str) -> bool:
    """Whether a modality says that these images were made under another entry of its worklist than was meant."""
    return any(is_wrong_entry(step) for step in procedure_steps.of_study(db, study_instance_uid))


def hold(db: Database, now: Instant, study_instance_uid: str) -> None:
    """Hold a study, if it is here, that may be another patient's, until a person has decided."""
    reason = (
        f"the modality discontinued its procedure step {shown_code(*WRONG_ENTRY)}: incorrect worklist entry selected,"
        " so these images may be of another patient. Correct it where it came from and send it again, or, if it is"
        f" right, `matins release {study_instance_uid}`"
    )
    studies.move(db, now, study_instance_uid, StudyState.HELD, reason)
