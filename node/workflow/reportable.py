"""What destinations are told of an outcome, and when it is written down."""

from __future__ import annotations

from node.config import Peer
from node.domain.model_card import Mode
from node.domain.output import SHOWN_AS_OF_OUTPUT
from node.domain.time import Instant
from node.domain.work import FINAL_OUTCOMES, OutcomeState, WorkKind
from node.store import artifacts, outcomes, work_items
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


def summarise(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> None:
    """Have what speaks of the whole study written once all models are through, where nobody has written it.

    Each report leaves that to the last of them, which writes none where it has no result. In the caller's transaction.
    """
    found = outcomes.current(db, study_instance_uid)
    if any(each.state not in FINAL_OUTCOMES for each in found):
        return
    if work_items.unfinished(db, study_instance_uid, WorkKind.REPORT):
        return
    results = [each for each in found if each.state is OutcomeState.RESULT and each.mode is Mode.LIVE]
    written = {(made.profile, made.kind) for each in results for made in artifacts.of_outcome(db, each.id)}
    for outcome in sorted(results, key=lambda each: -each.id):
        peers = destinations(db, policy, outcome)
        wanted = {(peer.profile, kind) for peer in peers for kind in kinds_for(peer, outcome.state)}
        if any(kind in STUDY_KINDS and (profile, kind) not in written for profile, kind in wanted):
            work_items.renew(db, now, WorkKind.REPORT, outcome.id, study_instance_uid)
            return


def is_last(db: Database, outcome: Outcome) -> bool:
    """Whether every other model is through with the study, its report too."""
    others = [each for each in outcomes.current(db, outcome.study_instance_uid) if each.id != outcome.id]
    open_subjects = work_items.unfinished_subjects(db, outcome.study_instance_uid, WorkKind.REPORT)
    return all(each.state in FINAL_OUTCOMES for each in others) and open_subjects <= {str(outcome.id)}


def standing_results(db: Database, outcome: Outcome) -> list[Outcome]:
    """The live results on the study of an outcome, by model name."""
    found = outcomes.current(db, outcome.study_instance_uid)
    return [each for each in found if each.state is OutcomeState.RESULT and each.mode is Mode.LIVE]
