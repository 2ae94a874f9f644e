"""What was kept of why a model answered as it did, for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from node.store import artifacts
from node.store.database import Database

#: The kind of artifact that a map is.
_MAP = "saliency"
#: Figures in the order in which they are said, and what they are called.
_FIGURES = (
    ("randomisation_rank_correlation", "likeness to the map of a shuffled model"),
    ("deletion_auc", "deletion"),
    ("insertion_auc", "insertion"),
    ("infidelity", "infidelity"),
    ("max_sensitivity", "max-sensitivity"),
    ("pointing_game", "pointing game"),
    ("mass_inside", "inside the mask"),
)


def explanations(db: Database, outcome_id: int) -> list[dict[str, Any]]:
    """Each map of an outcome with its account and a sentence, the one that is drawn first."""
    told = []
    for each in artifacts.of_outcome(db, outcome_id):
        if each.kind != _MAP or not each.account:
            continue
        account = json.loads(each.account)
        told.append({**account, "path": str(db.folder / each.path), "sentence": sentence(account)})
    return told


def sentence(account: Mapping[str, Any]) -> str:
    """How a map was made and how faithful it is, in one line."""
    figures = account["figures"]
    said = [f"{words} {figures[name]:.2f}" for name, words in _FIGURES if name in figures]
    measured = f": {', '.join(said)}" if said else ": its faithfulness was not measured"
    layer = f" at {account['layer']}" if account["layer"] else ""
    return f"{account['method']}{layer} of {account['target']}{measured}"
