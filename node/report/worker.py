"""The report room: turns finished outcomes into stored DICOM objects, queued for their destinations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import replace

import structlog

from node.config import Peer, Settings
from node.domain.time import Clock, SystemClock
from node.domain.work import OutcomeState, WorkKind
from node.errors import MatinsError, Misconfigured
from node.loop import Handling, Herald, run, stop_on_signals, work_step
from node.report import rebuilding, rejecting, replacing, shelf
from node.report.building import built, by_scope
from node.report.evidence import Evidence
from node.report.gathering import gather
from node.report.outputs import Output, in_order, outputs
from node.report.priors import handling as prior_documents
from node.report.priors.reader import DocumentReader
from node.report.warming import warm
from node.store import artifacts, files, outcomes, work_items
from node.store.database import Database, open_database
from node.store.work_items import WorkItem
from node.workflow import reading, recovery, reportable, reporting
from node.workflow.identity import destinations
from node.workflow.policy import Policies, Policy
from node.workflow.reportable import REPORTED_OUTCOMES

#: Built for every result, whether or not a destination asks for them.
DEFAULT_OUTPUTS = ("seg", "measurement_sr", "classification_sr")
DEFAULT_PROFILE = "standard"
_OWNER = "report:"
_KINDS = (WorkKind.REPORT, WorkKind.REJECT, WorkKind.FALLBACK, WorkKind.CORRECTION, WorkKind.READ_PRIOR)
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
    policies = Policies(settings)
    herald, stop = Herald(), stop_on_signals()
    files.sweep_temporary(settings.data.folder / artifacts.RESULTS)
    recovery.take_back(db, clock.now(), _OWNER, _KINDS)
    warm(DEFAULT_OUTPUTS, available)
    herald.ready(f"writes {', '.join(sorted(available))}")
    reader = DocumentReader()
    policy, steps = policies.current(), _steps(db, clock, policies.current(), available, reader)

    def step() -> bool:
        nonlocal policy, steps
        current = policies.current()
        if current is not policy:
            policy, steps = current, _steps(db, clock, current, available, reader)
        # A look costs less than a claim, which takes the write lock.
        write_reports, others = steps
        busy = [write() for kind, write in others.items() if work_items.open_subjects(db, kind, limit=1)]
        return write_reports() or any(busy)

    with closing(reader):
        run(db, step, stop, herald)
    herald.stopping()
    db.close()
    return 0


def _steps(
    db: Database, clock: Clock, policy: Policy, available: Mapping[str, Output], reader: DocumentReader
) -> tuple[Callable[[], bool], dict[WorkKind, Callable[[], bool]]]:
    """What this room does: write reports, and everything else by its kind."""
    others = (
        rejecting.handling(db, clock, _OWNER),
        replacing.handling(db, clock, policy, available, _OWNER),
        rebuilding.handling(db, clock, policy, available, _OWNER),
        prior_documents.handling(db, clock, policy, reader, _OWNER),
    )
    write_reports = work_step(db, clock, handling(db, clock, policy, available))
    return write_reports, {each.kind: work_step(db, clock, each) for each in others}


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
            for evidence, fitting in by_scope(
                db, policy, outcome, replace(gathered, profile=profile), missing, available
            ):
                made = built(db, evidence, fitting, available, kept)
                kept |= {(profile, kind): each for kind, each in made.items()}
        results += [kept[profile, kind] for kind in in_order(kinds, available) if (profile, kind) in kept]
    with db.transaction():
        reporting.complete(db, clock.now(), policy, item, results)


def wanted(peers: Iterable[Peer], state: OutcomeState = OutcomeState.RESULT) -> dict[str, set[str]]:
    """Profile → kinds to build: the default ones of a result, and what any destination of the outcome asks for."""
    kinds = {DEFAULT_PROFILE: set(DEFAULT_OUTPUTS)} if state is OutcomeState.RESULT else {}
    for peer in peers:
        asked = reportable.kinds_for(peer, state)
        if asked:
            kinds.setdefault(peer.profile, set()).update(asked)
    return kinds


def check_outputs(peers: Iterable[Peer], available: Mapping[str, Output]) -> None:
    """See that every output that a peer asks for, or gets in place of another, exists.

    Raises:
        Misconfigured: one does not.
    """
    for peer in peers:
        for key, kinds in (("outputs", peer.outputs), ("fallback", peer.fallback)):
            unknown = sorted(set(kinds) - set(available))
            if unknown:
                remedy = f"Choose from {', '.join(sorted(available))}"
                raise Misconfigured(
                    "config.toml", f"peers.{peer.name}.{key}", f"no output {', '.join(unknown)}", remedy
                )
