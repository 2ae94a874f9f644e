"""Another kind of output for a destination that does not store the one it was to get."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog

from node.config import Peer
from node.domain.time import Clock
from node.domain.work import WorkKind
from node.errors import Failed, MatinsError
from node.loop import Handling
from node.report import shelf
from node.report.building import await_others, built, evidence_for
from node.report.evidence import Evidence
from node.report.gathering import gather
from node.report.outputs import Output
from node.store import artifacts, outcomes, work_items
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.store.outcomes import Outcome
from node.store.work_items import WorkItem
from node.workflow import fallback
from node.workflow.policy import Policy
from node.workflow.reporting import BuiltResult

_LEASE_S = 60.0

log = structlog.get_logger()


def handling(
    db: Database, clock: Clock, policy: Policy, available: Mapping[str, Output], owner_prefix: str
) -> Handling:
    """How the report room treats `fallback` items."""

    def reject(item: WorkItem, error: MatinsError) -> None:
        work_items.park(db, clock.now(), item, str(error))

    def died(item: WorkItem, reason: str) -> None:
        work_items.give_up_or_retry(db, clock.now(), item, reason)

    return Handling(
        kind=WorkKind.FALLBACK,
        owner=f"{owner_prefix}{os.getpid()}",
        lease_s=_LEASE_S,
        handle=lambda item: replace_refused(db, clock, policy, available, item),
        reject=reject,
        died=died,
    )


def replace_refused(
    db: Database, clock: Clock, policy: Policy, available: Mapping[str, Output], item: WorkItem
) -> None:
    """Build and queue, for one destination alone, the first kind that may take the place of a refused row.

    Raises:
        Transient: a file or the database is busy; or what speaks of the whole study waits for its other models.
    """
    row = fallback.refused_row(db, item)
    outcome = outcomes.outcome(db, row.outcome_id) if row else None
    peer = policy.settings.peer_named(row.destination) if row else None
    if row is None or outcome is None or peer is None:
        with db.transaction():
            work_items.finish(db, clock.now(), item, "no longer wanted")
        return
    search = _Search(db, policy, available, row, outcome, peer)
    of_study = frozenset(kind for kind, output in available.items() if output.SCOPE == "study")
    standing = fallback.standing_kinds(db, row, of_study=of_study)
    tried = fallback.tried_kinds(db, row, of_study=of_study)
    own = available[row.kind].FALLBACKS if row.kind in available else ()
    why_not: list[str] = []
    for kind in fallback.next_kinds(row, peer, own):
        refusal = "it was refused already" if kind in tried else fallback.known_refusal(db, clock.now(), row, kind)
        result = None
        if kind not in standing:
            result, refusal = (None, refusal) if refusal else search.make(kind)
        if kind in standing or result is not None:
            with db.transaction():
                done = fallback.replace(db, clock.now(), item, row, kind, result)
            if done:
                log.info("result_replaced", destination=peer.name, kind=row.kind, by=kind, study=row.study_instance_uid)
            return
        why_not.append(f"{kind}: {refusal}")
    with db.transaction():
        work_items.finish(db, clock.now(), item, f"nothing takes its place. {'; '.join(why_not)}".strip())


@dataclass(slots=True)
class _Search:
    """What a refused row could be written as instead."""

    db: Database
    policy: Policy
    available: Mapping[str, Output]
    row: OutboxRow
    outcome: Outcome
    peer: Peer
    gathered: Evidence | None = None

    def make(self, kind: str) -> tuple[BuiltResult | None, str]:
        """The stored dataset, or why there is none."""
        if kind not in self.available:
            return None, "no such output"
        profile = self.peer.profile
        kept = {(each.profile, each.kind): shelf.kept(each) for each in artifacts.of_outcome(self.db, self.outcome.id)}
        if (profile, kind) in kept:
            return kept[profile, kind], ""
        await_others(self.db, self.outcome, self.available[kind])
        try:
            if self.gathered is None:
                self.gathered = replace(gather(self.db, self.policy, self.outcome), profile=profile)
            evidence = evidence_for(self.db, self.policy, self.outcome, self.gathered, kind, self.available)
            if evidence is None:
                return None, "this result cannot be written so"
            return built(self.db, evidence, [kind], self.available, kept)[kind], ""
        except Failed as error:
            return None, str(error)
