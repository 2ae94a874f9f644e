"""What destinations are told of an outcome, and when it is written down."""

from __future__ import annotations

from node.config import Peer
from node.domain.model_card import Mode
from node.domain.output import SHOWN_AS_OF_OUTPUT
from node.domain.time import Instant
from node.domain.work import FINAL_OUTCOMES, OutcomeState, WorkKind
from node.store import outcomes, work_items
from node.store.database import Database
from node.store.outcomes import Outcome
from node.workflow.identity import destinations
from node.workflow.policy import Policy

#: The output that says that a model did not read, and why.
NOT_PERFORMED = "not_performed_sr"
#: The output that any viewer shows.
SUMMARY = "secondary_capture"
#: Outputs of all models on a study together: the newest speaks for all, whichever model was the last to be through.
STUDY_KINDS = frozenset({SUMMARY, "encapsulated_pdf"})
#: What destinations are told of: results, and, where they ask for it, that there is none.
REPORTED_OUTCOMES = frozenset(
    {OutcomeState.RESULT, OutcomeState.NOT_APPLICABLE, OutcomeState.FAILED, OutcomeState.INCOMPLETE}
)


def kinds_for(peer: Peer, state: OutcomeState) -> tuple[str, ...]:
    """Outputs that a destination is sent of an outcome in this state.

    Where its viewers do not show one of them, a summary is added that any viewer shows: one a study, for all models.
    """
    if state is OutcomeState.RESULT:
        asked = tuple(kind for kind in peer.outputs if kind != NOT_PERFORMED)
        unseen = [kind for kind in asked if SHOWN_AS_OF_OUTPUT.get(kind, "") not in (*peer.shows, "")]
        return (*asked, SUMMARY) if unseen and SUMMARY not in asked else asked
    return (NOT_PERFORMED,) if NOT_PERFORMED in peer.outputs or "worklist" in peer.roles else ()


def begin(db: Database, now: Instant, policy: Policy, outcome: Outcome) -> None:
    """Have a final outcome written down, if it is live and anybody is to be told; in the caller's transaction."""
    if outcome.mode is not Mode.LIVE or outcome.state not in REPORTED_OUTCOMES:
        return
    asked = any(kinds_for(peer, outcome.state) for peer in destinations(db, policy, outcome))
    if asked or outcome.state is OutcomeState.RESULT:
        # It may have been told before that the model had failed: it was tried again.
        work_items.renew(db, now, WorkKind.REPORT, outcome.id, outcome.study_instance_uid)


def is_last(db: Database, outcome: Outcome) -> bool:
    """Whether every other model is through with the study, its report too."""
    others = [each for each in outcomes.current(db, outcome.study_instance_uid) if each.id != outcome.id]
    open_subjects = work_items.unfinished_subjects(db, outcome.study_instance_uid, WorkKind.REPORT)
    return all(each.state in FINAL_OUTCOMES for each in others) and open_subjects <= {str(outcome.id)}


def standing_results(db: Database, outcome: Outcome) -> list[Outcome]:
    """The live results on the study of an outcome, by model name."""
    found = outcomes.current(db, outcome.study_instance_uid)
    return [each for each in found if each.state is OutcomeState.RESULT and each.mode is Mode.LIVE]
