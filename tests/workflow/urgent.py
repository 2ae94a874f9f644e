"""A node whose rule raises hemorrhage to STAT, with routes and an escalation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from node.domain.finding import Finding
from node.domain.priority import Lane
from node.domain.rule import Comparison, Operator, Rule
from node.store import acknowledgements
from node.store.acknowledgements import Acknowledgement
from node.store.database import Database
from node.triage.rules import compile_rules
from node.workflow.policy import Policy
from tests.fakes import STUDY, FakeClock
from tests.notices import BLEED, RIS, bleed, closed, read, routed

PAGER = {"name": "PAGER", "kind": "email", "host": "127.0.0.1", "port": 25, "from_address": "m@example.org",
         "to": ["reading-room@example.org"], "when": ["escalation", "withdrawn"]}  # fmt: skip
STEPS = [{"after_min": 15, "route": "PAGER"}, {"after_min": 30, "route": "RIS"}]


def blood_is(lane: Lane) -> Rule:
    """The rule that asks."""
    asked = Comparison(field="finding.present", operator=Operator.IS, value=True, code="SCT:50960005")
    return Rule(id="blood", title="T", because="Blood", when=asked, points=10, lane=lane, source="s", version="1")


def watched(
    *, lane: Lane = Lane.STAT, flags_to: Sequence[str] = ("RIS", "PAGER"), mode: str = "live", **acknowledge: object
) -> Policy:
    """A policy with that rule, both routes and the escalation."""
    section = {"escalation": STEPS, "owner": "chief", "discrepancy_escalation": STEPS[:1], **acknowledge}
    models = {"brain": {"mode": mode}}
    policy = routed(RIS, PAGER, flags_to=flags_to, acknowledge=section, models=models)
    return replace(policy, rules=compile_rules([blood_is(lane)]))


def with_blood(db: Database, clock: FakeClock, policy: Policy, *found: Finding) -> None:
    """A study that came and in which a model sees blood."""
    closed(db, clock, policy)
    read(db, clock, policy, *(found or (bleed(),)))


def rows(db: Database, study: str = STUDY) -> list[Acknowledgement]:
    """What is asked for, or was, of a study."""
    return acknowledgements.of_study(db, study)


__all__ = ["BLEED", "PAGER", "STEPS", "rows", "watched", "with_blood"]
