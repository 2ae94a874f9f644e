"""The report room: turns finished outcomes into stored DICOM objects, queued for their destinations."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import structlog
from pydicom import dcmread

from node.config import Peer, Settings
from node.domain.time import Clock, SystemClock
from node.domain.work import OutcomeState, WorkKind
from node.errors import MatinsError, Misconfigured
from node.loop import Handling, Herald, run, stop_on_signals, work_step
from node.report import shelf
from node.report.composition import compose
from node.report.evidence import Evidence
from node.report.gathering import gather
from node.report.outputs import Output, in_order, outputs
from node.report.warming import warm
from node.store import artifacts, files, outcomes, work_items
from node.store.database import Database, open_database
from node.store.outcomes import Outcome
from node.store.work_items import WorkItem
from node.workflow import reading, recovery, reportable, reporting
from node.workflow.identity import destinations
from node.workflow.policy import Policy, load_policy
from node.workflow.reportable import REPORTED_OUTCOMES
from node.workflow.reporting import BuiltResult

#: Built for every result, whether or not a destination asks for them.
DEFAULT_OUTPUTS = ("seg", "measurement_sr")
DEFAULT_PROFILE = "standard"
_OWNER = "report:"
_LEASE_S = 60.0

log = structlog.get_logger()


def main(settings: Settings) -> int:
    """Run the room until SIGTERM.

    Raises:
        Misconfigured: a peer asks for an output that does not exist.
    """
    available = outputs()
    check_outputs(settings.peers, available)
    db = open_database(settings.data.folder, "report")
    clock = SystemClock()
    policy = load_policy(settings)
    herald, stop = Herald(), stop_on_signals()
    files.sweep_temporary(settings.data.folder / artifacts.RESULTS)
    recovery.take_back(db, clock.now(), _OWNER, (WorkKind.REPORT,))
    warm(DEFAULT_OUTPUTS, available)
    herald.ready(f"writes {', '.join(sorted(available))}")
    run(db, work_step(db, clock, handling(db, clock, policy, available)), stop, herald)
    herald.stopping()
    db.close()
    return 0


def handling(db: Database, clock: Clock, policy: Policy, available: Mapping[str, Output]) -> Handling:
    """How this room treats `report` items."""

    def reject(item: WorkItem, error: MatinsError) -> None:
        reading.reject(db, clock.now(), policy, item, error)

    def died(item: WorkItem, reason: str) -> None:
        reading.died(db, clock.now(), policy, item, reason)

    return Handling(
        kind=WorkKind.REPORT,
        owner=f"{_OWNER}{os.getpid()}",
        lease_s=_LEASE_S,
        handle=lambda item: report(db, clock, policy, available, item),
        reject=reject,
        died=died,
    )


def report(db: Database, clock: Clock, policy: Policy, available: Mapping[str, Output], item: WorkItem) -> None:
    """Build what is missing, store it durably, then record and queue everything in one transaction.

    What an earlier attempt has recorded is not built again.

    Raises:
        Failed: the result cannot be written down, with the reason.
        Transient: a file or the database is busy.
    """
    outcome = outcomes.outcome(db, int(item.subject))
    if outcome is None or outcome.state not in REPORTED_OUTCOMES:
        with db.transaction():
            work_items.finish(db, clock.now(), item, "no longer wanted")
            reading.settle(db, clock.now(), item.study_instance_uid)
        return
    kept = {(each.profile, each.kind): shelf.kept(each) for each in artifacts.of_outcome(db, outcome.id)}
    gathered: Evidence | None = None
    results = []
    for profile, kinds in wanted(destinations(db, policy, outcome), outcome.state).items():
        missing = [kind for kind in in_order(kinds, available) if (profile, kind) not in kept]
        if missing:
            gathered = gathered or gather(db, policy, outcome)
            for evidence, fitting in _by_scope(
                db, policy, outcome, replace(gathered, profile=profile), missing, available
            ):
                built = _built(db, evidence, fitting, available, kept)
                kept |= {(profile, kind): each for kind, each in built.items()}
        results += [kept[profile, kind] for kind in in_order(kinds, available) if (profile, kind) in kept]
    with db.transaction():
        reporting.complete(db, clock.now(), policy, item, results)


def _by_scope(
    db: Database,
    policy: Policy,
    outcome: Outcome,
    evidence: Evidence,
    kinds: Sequence[str],
    available: Mapping[str, Output],
) -> Iterator[tuple[Evidence, list[str]]]:
    """The kinds that can be written, with what they are written from: of one model, then of the whole study.

    What speaks of all models is written by the last of them.
    """
    fitting = fitting_kinds(evidence, kinds, available)
    yield evidence, [kind for kind in fitting if available[kind].SCOPE == "model"]
    of_study = [kind for kind in fitting if available[kind].SCOPE == "study"]
    if of_study and reportable.is_last(db, outcome):
        others = [each for each in reportable.standing_results(db, outcome) if each.id != outcome.id]
        together = (evidence, *(replace(gather(db, policy, each), profile=evidence.profile) for each in others))
        yield replace(evidence, together=tuple(sorted(together, key=lambda each: each.card.name))), of_study


def fitting_kinds(evidence: Evidence, kinds: Sequence[str], available: Mapping[str, Output]) -> list[str]:
    """Those of `kinds` that this evidence can be written as, with all that they refer to."""
    return [kind for kind in kinds if not any(available[each].unfit(evidence) for each in in_order([kind], available))]


def _built(
    db: Database,
    evidence: Evidence,
    kinds: Sequence[str],
    available: Mapping[str, Output],
    kept: Mapping[tuple[str, str], BuiltResult],
) -> dict[str, BuiltResult]:
    """Build and store the kinds that are neither recorded nor, under their derived UID, on disk already.

    A file that outlived its row (a database rebuilt from the spool) may have been sent: it goes out as it is, for
    one UID never has two contents.
    """
    needed = in_order(kinds, available)
    there = {kind: kept[evidence.profile, kind] for kind in needed if (evidence.profile, kind) in kept}
    there |= {kind: found for kind in needed if kind not in there and (found := shelf.on_disk(db, evidence, kind))}
    given = {kind: dcmread(db.folder / each.path, stop_before_pixels=True) for kind, each in there.items()}
    built = compose(evidence, [kind for kind in kinds if kind not in there], available, given)
    return there | {kind: shelf.store(db, kind, evidence.profile, dataset) for kind, dataset in built.items()}


def wanted(peers: Iterable[Peer], state: OutcomeState = OutcomeState.RESULT) -> dict[str, set[str]]:
    """Profile → kinds to build: the default ones of a result, and what any destination of the outcome asks for."""
    kinds = {DEFAULT_PROFILE: set(DEFAULT_OUTPUTS)} if state is OutcomeState.RESULT else {}
    for peer in peers:
        asked = reportable.kinds_for(peer, state)
        if asked:
            kinds.setdefault(peer.profile, set()).update(asked)
    return kinds


def check_outputs(peers: Iterable[Peer], available: Mapping[str, Output]) -> None:
    """See that every output that a peer asks for exists.

    Raises:
        Misconfigured: one does not.
    """
    for peer in peers:
        unknown = sorted(set(peer.outputs) - set(available))
        if unknown:
            remedy = f"Choose from {', '.join(sorted(available))}"
            raise Misconfigured("config.toml", f"peers.{peer.name}.outputs", f"no output {', '.join(unknown)}", remedy)
