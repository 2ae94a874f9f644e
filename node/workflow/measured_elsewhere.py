"""What others have measured on priors, and our own models elsewhere or in other versions, beside what is measured now.

It is shown and never compared: how far two measurements lie apart is known of one model alone, and of what another has
measured nobody knows it. So rules, rank and reports hear nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from node.domain.change import Change, Verdict
from node.domain.finding import Finding, Measurement
from node.domain.prior_document import DocumentKind
from node.domain.work import OutcomeState
from node.store import findings, outcomes, prior_findings
from node.store.database import Database
from node.store.outcomes import Outcome
from node.store.prior_findings import PriorFindingRow
from node.store.studies import StudyRow
from node.triage.change_conditions import days_between
from node.triage.change_sizes import sizes
from node.workflow.earlier import earlier

_LONGEST_NAME = 64
_T = TypeVar("_T")


def sizes_of_others(db: Database, study: StudyRow) -> list[tuple[Outcome, Change]]:
    """Sizes of what a model found in a study beside those that documents of the latest such prior tell of the same.

    The same is what has one code on one side, once here and once in the document.
    """
    made = [each for each in outcomes.current(db, study.study_instance_uid) if each.state is OutcomeState.RESULT]
    priors = {each.study_instance_uid: each for each in earlier(db, study)} if made else {}
    told: dict[str, list[PriorFindingRow]] = {}
    for row in prior_findings.of_studies(db, list(priors)):
        told.setdefault(row.study_instance_uid, []).append(row)
    shown = {outcome.id: findings.of_outcome(db, outcome.id) for outcome in made}
    for uid, prior in priors.items():
        found = [
            (outcome, change)
            for outcome in made
            for change in _beside(outcome, study, shown[outcome.id], prior, told.get(uid, []))
        ]
        if found:
            return found
    return []


def _beside(
    outcome: Outcome, study: StudyRow, found: Sequence[Finding], prior: StudyRow, told: Sequence[PriorFindingRow]
) -> Iterator[Change]:
    now = _alone([(_name(each), each) for each in found if not each.lesion_number and sizes(each)])
    for document in dict.fromkeys(row.sop_instance_uid for row in told):
        rows = [row for row in told if row.sop_instance_uid == document and sizes(row.found.finding)]
        for name, row in _alone([(_name(row.found.finding), row) for row in rows]).items():
            if name in now:
                yield from _sizes(outcome, study, now[name], prior, row)


def _sizes(
    outcome: Outcome, study: StudyRow, finding: Finding, prior: StudyRow, row: PriorFindingRow
) -> Iterator[Change]:
    then = {_kind(each): each for each in sizes(row.found.finding)}
    for size in sizes(finding):
        was = then.get(_kind(size))
        if was is not None:
            yield Change(
                model=outcome.model,
                code=finding.code,
                quantity=size.quantity,
                unit=size.unit,
                segment_number=finding.segment_number or 0,
                before=was.value,
                after=size.value,
                days=days_between(prior.order.study_date, study.order.study_date),
                prior_study_instance_uid=prior.study_instance_uid,
                prior_date=prior.order.study_date,
                verdict=Verdict.NOT_COMPARABLE,
                reason=f"made by {_maker(outcome, row)}",
            )


def _maker(outcome: Outcome, row: PriorFindingRow) -> str:
    found = row.found
    name = (found.algorithm or row.made_by or "somebody who is not named")[:_LONGEST_NAME]
    if not row.ours or not found.model_digest:
        return f"{name}, whose mask was counted here" if row.kind is DocumentKind.SEGMENTATION else name
    is_same = (found.model_digest, found.card_digest) == (outcome.model_digest, outcome.card_digest)
    return f"{name} elsewhere, on images that were not laid on these" if is_same else f"{name} in another version"


def _alone(named: Sequence[tuple[tuple[str, ...], _T]]) -> dict[tuple[str, ...], _T]:
    """What has a name that nothing else has."""
    names = [name for name, _ in named]
    return {name: each for name, each in named if names.count(name) == 1}


def _name(finding: Finding) -> tuple[str, ...]:
    side = finding.laterality
    return (finding.code.scheme, finding.code.value, side.value if side else "")


def _kind(size: Measurement) -> tuple[str, ...]:
    method = size.method
    return (size.quantity.scheme, size.quantity.value, size.unit.value, method.value if method else "")
