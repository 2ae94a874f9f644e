"""Comparison with a prior: asked for when a result stands, made by the infer room, redone when either side changes.

Where a prior is to be compared with, the report waits for the comparison, a minute or two at most, so that it is
written once; the rank does not wait. A prior whose result comes after the report has it written once more, if something
has changed and no person's report is final (`workflow.restating`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from node.catalogue import Model
from node.domain.alignment import Alignment
from node.domain.change import Change
from node.domain.finding import Finding
from node.domain.model_card import Mode
from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.work import OutcomeState, WorkKind, WorkState
from node.store import artifacts, changes, findings, instances, outcomes, studies, work_items
from node.store.database import Database
from node.store.outcomes import Outcome
from node.store.studies import StudyRow
from node.store.work_items import WorkItem
from node.triage.change import has_size
from node.workflow import assignment, ranking, restating
from node.workflow.earlier import earlier, later
from node.workflow.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Two results of one model on one patient, to be compared."""

    study: StudyRow
    outcome: Outcome
    found: tuple[Finding, ...]
    prior_study: StudyRow
    prior: Outcome
    prior_found: tuple[Finding, ...]

    @property
    def is_same_model(self) -> bool:
        """Whether the same files read both, with the same card."""
        return _version(self.outcome) == _version(self.prior)


def ask(db: Database, now: Instant, outcome: Outcome) -> bool:
    """Have a result compared with the latest prior, and later results with it; in the caller's transaction.

    Returns whether this outcome waits for its comparison: one that stands aside is compared with nothing itself.
    """
    study = studies.study(db, outcome.study_instance_uid)
    if study is None:
        return False
    for each in later(db, study):
        for follower in _results(db, each, outcome.model, asides=False):
            pairing = pairing_of(db, follower)
            if pairing is not None and pairing.prior.id == outcome.id:
                work_items.renew(db, now, WorkKind.COMPARE, follower.id, each.study_instance_uid)
    if outcome.aside or pairing_of(db, outcome) is None:
        return False
    work_items.renew(db, now, WorkKind.COMPARE, outcome.id, outcome.study_instance_uid)
    return True


def pairing_of(db: Database, outcome: Outcome) -> Pairing | None:
    """A result and the prior to compare it with: the latest that the same version of the model read, else the latest.

    `None` where there is none, or neither has a size to compare.
    """
    study = studies.study(db, outcome.study_instance_uid)
    if study is None or outcome.state is not OutcomeState.RESULT:
        return None
    found = [(each, before) for each in earlier(db, study) for before in _results(db, each, outcome.model)]
    chosen = next((pair for pair in found if _version(pair[1]) == _version(outcome)), found[0] if found else None)
    if chosen is None:
        return None
    pairing = Pairing(
        study=study,
        outcome=outcome,
        found=tuple(findings.of_outcome(db, outcome.id)),
        prior_study=chosen[0],
        prior=chosen[1],
        prior_found=tuple(findings.of_outcome(db, chosen[1].id)),
    )
    return pairing if any(map(has_size, (*pairing.found, *pairing.prior_found))) else None


def begin(db: Database, now: Instant, item: WorkItem) -> Pairing | None:
    """What is to be compared for an item; `None` if nobody wants it any more (the item is then finished)."""
    outcome = outcomes.outcome(db, int(item.subject))
    pairing = None if outcome is None else pairing_of(db, outcome)
    if pairing is None and work_items.finish(db, now, item, "no longer wanted"):
        go_on(db, now, item)
    return pairing


def complete(
    db: Database,
    now: Instant,
    policy: Policy,
    item: WorkItem,
    pairing: Pairing,
    found: Sequence[Change],
    alignment: Alignment | None,
    duration_s: float,
) -> bool:
    """Keep a comparison, rank anew and let the report be written; `False` if the item was taken.

    Where another prior is the right one by now, the comparison is asked for again.
    """
    if not work_items.finish(db, now, item):
        return False
    latest = outcomes.outcome(db, pairing.outcome.id)
    right = None if latest is None else pairing_of(db, latest)
    if right is not None and right.prior.id != pairing.prior.id:
        work_items.renew(db, now, WorkKind.COMPARE, item.subject, item.study_instance_uid)
        return True
    if right is not None:
        before = changes.last_of(db, pairing.outcome.id)
        changes.record(
            db,
            now,
            outcome_id=pairing.outcome.id,
            prior_outcome_id=pairing.prior.id,
            study=item.study_instance_uid,
            changes=found,
            alignment=alignment,
            duration_s=duration_s,
        )
        restating.restate(db, now, policy, right.outcome, before)
        ranking.rerank(db, now, policy, item.study_instance_uid)
    go_on(db, now, item)
    return True


def reject(db: Database, now: Instant, item: WorkItem, reason: str) -> None:
    """The two cannot be compared, whatever is tried: parked for a person, and the report is written without."""
    if work_items.park(db, now, item, reason):
        go_on(db, now, item)


def died(db: Database, now: Instant, item: WorkItem, reason: str) -> None:
    """The process that compared died: tried again, or parked after the last attempt."""
    if work_items.give_up_or_retry(db, now, item, reason) is WorkState.PARKED:
        go_on(db, now, item)


def go_on(db: Database, now: Instant, item: WorkItem) -> None:
    """What waited for a comparison goes on without it or with it: the report, where it was not written before."""
    from node.workflow import reading  # which asks for comparisons itself

    outcome = outcomes.outcome(db, int(item.subject))
    is_wanted = outcome is not None and outcome.state is OutcomeState.RESULT and outcome.mode is Mode.LIVE
    if outcome is not None and is_wanted and not is_written(db, outcome.id):
        work_items.renew(db, now, WorkKind.REPORT, outcome.id, outcome.study_instance_uid)
    reading.settle(db, now, item.study_instance_uid)


def is_written(db: Database, outcome_id: int) -> bool:
    """Whether an outcome has a report already, which no comparison changes."""
    return any(each.sop_instance_uid for each in artifacts.of_outcome(db, outcome_id))


def retry(db: Database, now: Instant, outcome: Outcome) -> bool:
    """Try again a comparison that was given up; `False` if there is none."""
    return work_items.retry(db, now, WorkKind.COMPARE, outcome.id, "retry asked for")


def let_go(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> None:
    """Rank the studies anew that were compared with this one: its results, or whose they are, may have changed."""
    for uid in changes.compared_with(db, study_instance_uid):
        ranking.rerank(db, now, policy, uid)


def priors_to_rerun(db: Database, policy: Policy, uids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The priors that these studies would be compared with if today's model had read them: (study, model) each.

    Of each study and each active model the latest prior on which it, as it is today, has no result. Left out is what a
    model of today has tried already, and of what was read in its own time what no older version has found a size in.
    """
    told = set()
    for study in studies.some(db, uids):
        for prior in earlier(db, study)[:1]:
            for model in policy.active_models:
                key = (prior.study_instance_uid, model.card.name)
                if model.runs and key not in told and _is_unread(db, prior, model):
                    told.add(key)
                    yield key


def rerun(db: Database, now: Instant, policy: Policy, study_instance_uid: str, model_name: str) -> bool:
    """Have today's model read a prior in the shadow: compared with here, filed nowhere; in the caller's transaction.

    What was read in its own time keeps its outcomes: the new one stands aside, and supersedes another that stood there.
    `False` where it cannot: the study or the model is gone, the images are, or none suits.
    """
    study, model = studies.study(db, study_instance_uid), policy.model(model_name)
    if study is None or model is None or not model.runs or not _is_unread(db, study, model):
        return False
    held = instances.of_study(db, study_instance_uid)
    shadow = replace(model, mode=Mode.SHADOW)
    standing = (outcomes.current if study.prior else outcomes.asides)(db, study_instance_uid)
    if not assignment.assign_early(db, now, shadow, study, held, revision=max(1, study.revision)):
        return False
    for each in standing:
        if each.model == model_name:
            assignment.supersede(db, now, each, "read again by today's model, to be compared with")
    if not study.prior:
        outcomes.lay_aside(db, study_instance_uid, model_name)
    return True


def _is_unread(db: Database, study: StudyRow, model: Model) -> bool:
    """Whether today's model may read a study again, to be compared with."""
    if not study.prior and (study.state is not StudyState.DONE or study.open):
        return False
    found = outcomes.current(db, study.study_instance_uid)
    today = (model.card.name, model.model_digest, model.card_digest)
    # What says only that the study is a prior was never tried.
    tried = [each for each in found if not study.prior or each.reason != study.prior]
    tried += [each for each in outcomes.asides(db, study.study_instance_uid) if each.revision == max(1, study.revision)]
    if today in map(_version, tried):
        return False
    return bool(study.prior) or any(each.model == model.card.name and _has_sizes(db, each) for each in found)


def _has_sizes(db: Database, outcome: Outcome) -> bool:
    return outcome.state is OutcomeState.RESULT and any(map(has_size, findings.of_outcome(db, outcome.id)))


def _results(db: Database, study: StudyRow, model: str, *, asides: bool = True) -> list[Outcome]:
    found = outcomes.current(db, study.study_instance_uid)
    if asides:
        beside = outcomes.asides(db, study.study_instance_uid)
        found += [each for each in beside if each.revision == max(1, study.revision)]
    return [each for each in found if each.model == model and each.state is OutcomeState.RESULT]


def _version(outcome: Outcome) -> tuple[str, str, str]:
    return (outcome.model, outcome.model_digest, outcome.card_digest)
