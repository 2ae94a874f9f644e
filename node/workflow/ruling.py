"""New rules take effect: what waits is ranked anew, and what changed or is broken is noted."""

from __future__ import annotations

from dataclasses import dataclass

from node.domain.time import Instant, elapsed_s
from node.store import events
from node.store.database import Database
from node.workflow.policy import Policies, Policy
from node.workflow.ranking import rerank_all

#: Events about this have the digest as their subject, and what is broken as their reason.
ABOUT = "rules"
IN_FORCE = "in force"
#: In force, and everything that waits has been ranked by them.
SETTLED = "settled"
#: When everything is ranked once more: by then no room decides by the rules from before.
_SETTLED_S = 60.0


@dataclass(slots=True)
class Ruling:
    """Which rules the ranks of all that waits are of; one room holds it."""

    #: Rules and problems that were noted last.
    noted: tuple[str, tuple[str, ...]] | None = None
    #: Since when they are in force, until everything has been ranked by them in all rooms.
    since: Instant | None = None

    def follow(self, db: Database, now: Instant, policies: Policies) -> int | None:
        """Let rules that have changed take effect, and return how many places moved; `None` where nothing was to do.

        After a restart that is done only where the rules are others than those that everything was ranked by.
        """
        policy = policies.current()
        if self.noted != (policy.rules_digest, policy.rule_problems):
            policies.keep()
            begins = self._note(db, now, policy)
            self.noted = (policy.rules_digest, policy.rule_problems)
            if begins:
                self.since = now
                return rerank_all(db, now, policy)
        if self.since is None or elapsed_s(self.since, now) < _SETTLED_S:
            return None
        moved = rerank_all(db, now, policy)
        self.since = None
        with db.transaction():
            _record(db, now, policy, before=IN_FORCE, after=SETTLED)
        return moved

    def _note(self, db: Database, now: Instant, policy: Policy) -> bool:
        """Write down what is in force and what is broken; return whether everything has to be ranked anew."""
        latest = next(iter(events.latest(db, ABOUT, 1)), None)
        if latest is None or latest.subject != policy.rules_digest:
            with db.transaction():
                _record(db, now, policy, before=latest.subject if latest else "", after=IN_FORCE)
            return True
        if latest.reason != _broken(policy):
            with db.transaction():
                _record(db, now, policy, before=latest.after, after=latest.after)
        return latest.after != SETTLED


def _record(db: Database, now: Instant, policy: Policy, *, before: str, after: str) -> None:
    events.record(db, now, ABOUT, policy.rules_digest, before=before, after=after, reason=_broken(policy))


def _broken(policy: Policy) -> str:
    return "; ".join(policy.rule_problems)
