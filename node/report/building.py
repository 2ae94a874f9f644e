"""Outputs of one outcome: which can be written, from what, and the datasets, each built and stored once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pydicom import dcmread

from node.errors import Transient
from node.report import shelf
from node.report.composition import compose
from node.report.evidence import Evidence
from node.report.gathering import gather
from node.report.outputs import Output, in_order
from node.store.database import Database
from node.store.outcomes import Outcome
from node.workflow import reportable
from node.workflow.identity import goes_along
from node.workflow.policy import Policy
from node.workflow.reporting import BuiltResult

#: (profile, kind) → what is recorded of it.
Kept = Mapping[tuple[str, str], BuiltResult]


def by_scope(
    db: Database,
    policy: Policy,
    outcome: Outcome,
    evidence: Evidence,
    kinds: Sequence[str],
    available: Mapping[str, Output],
) -> Iterator[tuple[Evidence, list[str]]]:
    """The kinds that can be written, with what they are written from: of one model, then of the whole study.

    What speaks of all models is written by the last of them, and of those alone that may go where it goes.
    """
    fitting = fitting_kinds(evidence, kinds, available)
    yield evidence, [kind for kind in fitting if available[kind].SCOPE == "model"]
    of_study = [kind for kind in fitting if available[kind].SCOPE == "study"]
    if of_study and reportable.is_last(db, outcome):
        others = [
            each
            for each in reportable.standing_results(db, outcome)
            if each.id != outcome.id and goes_along(db, policy, each, outcome)
        ]
        together = (evidence, *(replace(gather(db, policy, each), profile=evidence.profile) for each in others))
        yield replace(evidence, together=tuple(sorted(together, key=lambda each: each.card.name))), of_study


def await_others(db: Database, outcome: Outcome, output: Output) -> None:
    """See that what speaks of the whole study is not written before its other models are through.

    Raises:
        Transient: it would be.
    """
    if output.SCOPE == "study" and not reportable.is_last(db, outcome):
        raise Transient(f"{output.KIND} speaks of the whole study, whose other models are not through")


def evidence_for(
    db: Database, policy: Policy, outcome: Outcome, gathered: Evidence, kind: str, available: Mapping[str, Output]
) -> Evidence | None:
    """What one output is written from; `None` where it cannot be written."""
    scopes = by_scope(db, policy, outcome, gathered, [kind], available)
    return next((evidence for evidence, fitting in scopes if kind in fitting), None)


def fitting_kinds(evidence: Evidence, kinds: Sequence[str], available: Mapping[str, Output]) -> list[str]:
    """Those of `kinds` that this evidence can be written as, with all that they refer to."""
    return [kind for kind in kinds if not any(available[each].unfit(evidence) for each in in_order([kind], available))]


def built(
    db: Database, evidence: Evidence, kinds: Sequence[str], available: Mapping[str, Output], kept: Kept
) -> dict[str, BuiltResult]:
    """Build and store the kinds that are neither recorded nor, under their derived UID, on disk already.

    A file that outlived its row (a database rebuilt from the spool) may have been sent: it goes out as it is, for
    one UID never has two contents.
    """
    needed = in_order(kinds, available)
    there = {kind: kept[evidence.profile, kind] for kind in needed if (evidence.profile, kind) in kept}
    there |= {kind: found for kind in needed if kind not in there and (found := shelf.on_disk(db, evidence, kind))}
    given = {kind: dcmread(db.folder / each.path, stop_before_pixels=True) for kind, each in there.items()}
    missing = [kind for kind in kinds if kind not in there]
    made = compose(evidence, missing, available, given) if missing else {}
    return there | {kind: shelf.store(db, kind, evidence.profile, dataset) for kind, dataset in made.items()}
