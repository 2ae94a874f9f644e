"""What stands in `models/` and `rules/`: read from files, checked whole, before anything runs on it."""

from __future__ import annotations

from node.catalogue.lock import trust
from node.catalogue.models import Model, finding_codes, load_models, load_models_leniently
from node.catalogue.rules import load_rules, load_rules_leniently

__all__ = [
    "Model",
    "finding_codes",
    "load_models",
    "load_models_leniently",
    "load_rules",
    "load_rules_leniently",
    "trust",
]
