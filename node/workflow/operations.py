"""What a person may set off: retry, force, release, withdraw. Each returns what it did, as a sentence."""

from __future__ import annotations

from collections.abc import Callable

from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.work import FINAL_OUTCOMES, OutcomeState, ResultState, WorkKind, WorkState
from node.errors import Failed
from node.store import events, outbox, outcomes, procedure_steps, studies, withdrawal_notes, work_items
from node.store.database import Database
from node.store.outcomes import Outcome
from node.workflow import assignment, comparing, identity, listing, prior_reading, ranking, reading, withdrawal
from node.workflow.policy import Policy

#: Of what a person says, characters.
_LONGEST_REASON = 200


def retry(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> list[str]:
    """Try again what failed: models, reports and sendings of one study; run numbers stay.

    Opens its own transaction. Raises:
        Failed: no such study.
    """
    with db.transaction():
        _known(db, study_instance_uid)
        done: list[str] = []
        for outcome in outcomes.current(db, study_instance_uid):
            if work_items.retry(db, now, WorkKind.INFER, outcome.id, "retry asked for"):
                # Nobody is told any more that it has failed; what becomes of it now, is.
                work_items.cancel(db, now, WorkKind.REPORT, outcome.id, "retry asked for")
                outcomes.move(db, now, outcome.id, OutcomeState.PENDING, "retry asked for")
                done.append(f"{outcome.model} is tried again")
            elif comparing.retry(db, now, outcome):
                done.append(f"what {outcome.model} found is compared with its prior again")
            elif work_items.retry(db, now, WorkKind.REPORT, outcome.id, "retry asked for"):
                if work_items.state(db, WorkKind.INFER, outcome.id) is WorkState.FINISHED:
                    outcomes.move(db, now, outcome.id, OutcomeState.RESULT, "retry asked for")
                done.append(f"the report of {outcome.model} is built again")
        done += [
            f"the rejection note to {note.destination} is written again"
            for note in withdrawal_notes.of_study(db, study_instance_uid)
            if work_items.retry(db, now, WorkKind.REJECT, note.id, "retry asked for")
        ]
        done += prior_reading.retry(db, now, study_instance_uid)
        for row in outbox.of_study(db, study_instance_uid):
            if row.state in (ResultState.DEAD, ResultState.HELD):
                outbox.move(db, now, row, ResultState.QUEUED, "retry asked for")
                done.append(f"{row.kind} is sent again to {row.destination}")
        done += listing.retry(db, now, study_instance_uid)
        ranking.rerank(db, now, policy, study_instance_uid)
        reading.settle(db, now, study_instance_uid)
    return done


def force(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> list[str]:
    """Close a study that still waits for instances, else run its models once more with the next run number.

    A prior is read like any other study from then on.

    Opens its own transaction. Raises:
        Failed: no such study, it is held, or files that its models would read were freed.
    """
    with db.transaction():
        study = _known(db, study_instance_uid)
        if study.state is StudyState.HELD:
            raise Failed(f"the study is held ({study.reason}); `matins release` it first")
        studies.record_asked(db, study_instance_uid)
        if study.open:
            studies.request_closing(db, study_instance_uid)
            return ["the study is closed with what has come"]
        studies.record_prior(db, study_instance_uid, "")
        done = assignment.run_again(db, now, policy, study)
        ranking.rerank(db, now, policy, study_instance_uid)
        reading.settle(db, now, study_instance_uid)
    return done


def release(db: Database, now: Instant, study_instance_uid: str) -> list[str]:
    """Let a held study go on: it is closed anew, and held again if the reason still stands.

    Instances that have come again and agree on another patient than before are believed then, if that is why it was
    held; what the person was not told holds it again.

    Opens its own transaction. Raises:
        Failed: no such study, or it is not held.
    """
    with db.transaction():
        study = _known(db, study_instance_uid)
        if study.state is not StudyState.HELD:
            raise Failed("the study is not held")
        procedure_steps.release(db, study_instance_uid)
        studies.record_released(db, study_instance_uid, believed=identity.was_told(db, study))
        studies.request_closing(db, study_instance_uid)
        studies.move(db, now, study_instance_uid, StudyState.RECEIVING, "released")
        events.record(db, now, "operation", study_instance_uid, after="release", study=study_instance_uid)
    return ["the study is looked at again"]


def withdraw(
    db: Database,
    now: Instant,
    policy: Policy,
    study_instance_uid: str,
    because: str,
    chosen: Callable[[Outcome], bool] = lambda _outcome: True,
) -> list[str]:
    """Take back what models made of a study, all of it or of the outcomes that are `chosen`; cannot be undone.

    None of them runs on this content again unless it is forced. `because` is what the person says. Destinations that
    take rejection notes are sent one; what any other has stays there. Opens its own transaction. Raises:
        Failed: no such study, or there is nothing to take back.
    """
    said = "".join(letter for letter in " ".join(because.split()) if letter.isprintable())[:_LONGEST_REASON]
    reason = f"withdrawn by a person{': ' if said else ''}{said}"
    with db.transaction():
        study = _known(db, study_instance_uid)
        found = [each for each in outcomes.of_study(db, study_instance_uid) if chosen(each)]
        done = withdrawal.withdraw_outcomes(db, now, policy.settings, found, reason)
        if not done:
            raise Failed("no model has found anything in the study, and none is at it: there is nothing to take back")
        events.record(
            db, now, "operation", study_instance_uid, after="withdraw", reason=reason, study=study_instance_uid
        )
        ranking.rerank(db, now, policy, study_instance_uid)
        comparing.let_go(db, now, policy, study_instance_uid)
        reading.settle(db, now, study_instance_uid)
        is_over = all(each.state in FINAL_OUTCOMES for each in outcomes.current(db, study_instance_uid))
        if study.state is not StudyState.HELD and not study.open and is_over:
            studies.move(db, now, study_instance_uid, StudyState.DONE, reason)
    return done


def _known(db: Database, study_instance_uid: str) -> studies.StudyRow:
    study = studies.study(db, study_instance_uid)
    if study is None:
        raise Failed(f"no study {study_instance_uid} is held here")
    return study
