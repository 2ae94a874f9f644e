"""The tables, as migrations named by topic: recorded, applied once, append-only, in the order of the imports below."""

from __future__ import annotations

from node.store.migrations import first
from node.store.migrations.registry import MIGRATIONS

from node.store.migrations import retrievals  # isort: skip
from node.store.migrations import journal  # isort: skip
from node.store.migrations import completeness  # isort: skip
from node.store.migrations import rejections  # isort: skip
from node.store.migrations import confirmations  # isort: skip
from node.store.migrations import deliveries  # isort: skip
from node.store.migrations import withdrawals  # isort: skip
from node.store.migrations import retention  # isort: skip
from node.store.migrations import readings  # isort: skip
from node.store.migrations import explanations  # isort: skip
from node.store.migrations import triage  # isort: skip
from node.store.migrations import inquiries  # isort: skip
from node.store.migrations import ranking  # isort: skip
from node.store.migrations import notices  # isort: skip
from node.store.migrations import hl7  # isort: skip
from node.store.migrations import impact  # isort: skip
from node.store.migrations import ups  # isort: skip
from node.store.migrations import changes  # isort: skip
from node.store.migrations import replays  # isort: skip
from node.store.migrations import priors  # isort: skip
from node.store.migrations import nights  # isort: skip
from node.store.migrations import acknowledgements  # isort: skip
from node.store.migrations import asides  # isort: skip
from node.store.migrations import performing  # isort: skip
from node.store.migrations import forgetting  # isort: skip
from node.store.migrations import order_numbers  # isort: skip
from node.store.migrations import feedback  # isort: skip

__all__ = [
    "MIGRATIONS",
    "acknowledgements",
    "asides",
    "changes",
    "completeness",
    "confirmations",
    "deliveries",
    "explanations",
    "feedback",
    "first",
    "forgetting",
    "hl7",
    "impact",
    "inquiries",
    "journal",
    "nights",
    "notices",
    "order_numbers",
    "performing",
    "priors",
    "ranking",
    "readings",
    "rejections",
    "replays",
    "retention",
    "retrievals",
    "triage",
    "ups",
    "withdrawals",
]
