"""A report that was written before what it says had changed: written once more, by a new run of what was found.

Nothing is read again: the findings, their identifiers and the mask stay, the run has the next number, and so the new
set of results names the old one as its predecessor and takes its place where that was sent (`workflow.supersession`).
"""

from __future__ import annotations

from collections.abc import Sequence

from node.domain.change import Change, Verdict
from node.domain.model_card import Mode
from node.domain.report_state import ReportState
from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.work import OutcomeState
from node.store import artifacts, changes, findings, instances, outcomes, studies
from node.store.database import Database
from node.store.outcomes import Outcome
from node.workflow import assignment, reportable
from node.workflow.policy import Policy

#: What is worth a new report: not that nothing has changed, nor that nothing can be said.
_TELLING = frozenset({Verdict.NEW, Verdict.GROWN, Verdict.SHRUNK, Verdict.RESOLVED})
_REASON = "its report is written again: compared with a prior that came later"


def restate(db: Database, now: Instant, policy: Policy, outcome: Outcome, before: Sequence[Change]) -> bool:
    """Have what was found reported again, if its comparison tells more than `before`; in the caller's transaction.

    Once in a revision, and never once a person's report is final, while instances still come, or where a file that the
    report needs is not here.
    """
    told = changes.last_of(db, outcome.id)
    if _telling(told) <= _telling(before) or not _may(db, outcome):
        return False
    new = _run(db, now, outcome)
    findings.record(db, new.id, findings.of_outcome(db, outcome.id))
    artifacts.hand_over(db, outcome.id, new.id)
    changes.hand_over(db, outcome.id, new.id)
    assignment.supersede(db, now, outcome, _REASON)
    reportable.begin(db, now, policy, new)
    return True


def _telling(found: Sequence[Change]) -> set[tuple[object, ...]]:
    return {
        (each.code, each.segment_number, each.lesion_number, each.prior_lesion_number, each.quantity, each.verdict)
        for each in found
        if each.verdict in _TELLING
    }


def _may(db: Database, outcome: Outcome) -> bool:
    study = studies.study(db, outcome.study_instance_uid)
    if study is None or study.state is not StudyState.DONE or study.open or study.report_state is ReportState.FINAL:
        return False
    if outcome.state is not OutcomeState.RESULT or outcome.mode is not Mode.LIVE or outcome.aside:
        return False
    once = [each for each in outcomes.of_study(db, outcome.study_instance_uid) if each.reason == _REASON]
    if any((each.model, each.revision) == (outcome.model, outcome.revision) for each in once):
        return False
    made = artifacts.of_outcome(db, outcome.id)
    if not any(each.sop_instance_uid for each in made):
        return False
    held = instances.with_ids(db, outcomes.inputs(db, outcome.id))
    return not any(each.freed_at for each in held) and not any(each.freed_at for each in made)


def _run(db: Database, now: Instant, old: Outcome) -> Outcome:
    """A new outcome that is a result at once, of the same inputs."""
    run_number = outcomes.next_run_number(
        db,
        old.study_instance_uid,
        revision=old.revision,
        model=old.model,
        model_digest=old.model_digest,
        card_digest=old.card_digest,
        content_digest=old.content_digest,
    )
    new = outcomes.add(
        db,
        now,
        study=old.study_instance_uid,
        revision=old.revision,
        run_number=run_number,
        model=old.model,
        mode=old.mode,
        model_digest=old.model_digest,
        card_digest=old.card_digest,
        series_instance_uid=old.series_instance_uid,
        content_digest=old.content_digest,
        series=old.series,
        state=OutcomeState.PENDING,
        inputs=outcomes.inputs(db, old.id),
    )
    outcomes.move(db, now, new, OutcomeState.RUNNING)
    outcomes.move(db, now, new, OutcomeState.RESULT, timings=old.timings, notes=old.notes)
    made = outcomes.outcome(db, new)
    assert made is not None
    return made
