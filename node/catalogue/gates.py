"""What a card says of gates and doubt, checked for what types alone cannot see."""

from __future__ import annotations

from math import isfinite

from node.catalogue.toml_file import Complaint
from node.domain.gate import Figure, Gate
from node.domain.model_card import ModelCard

_METHODS = ("flips", "ensemble")


def check_gates(card: ModelCard, complaint: Complaint) -> None:
    """Complain about gates and doubt that cannot be meant.

    Raises:
        Misconfigured: with the key and the remedy.
    """
    for index, gate in enumerate(card.gates):
        _check_gate(gate, f"gates[{index}]", complaint)
    doubt = card.uncertainty
    if doubt is None:
        return
    if doubt.method not in _METHODS:
        raise complaint("uncertainty.method", f'is "{doubt.method}"', f"Choose one of {', '.join(_METHODS)}")
    if doubt.method == "ensemble" and len(card.weights) < 2:
        raise complaint("uncertainty.method", "an ensemble of one", "Give a weights file for each member, or use flips")
    if doubt.method == "flips" and (not doubt.axes or not set(doubt.axes) <= {0, 1, 2}):
        raise complaint("uncertainty.axes", f"are {doubt.axes}", "Give some of 0 (slice), 1 (row), 2 (column)")
    if doubt.doubtful_from is not None and not doubt.doubtful_from > 0:
        raise complaint("uncertainty.doubtful_from", "is not above 0", "Give the disagreement from which to doubt")


def _check_gate(gate: Gate, key: str, complaint: Complaint) -> None:
    bounds = [bound for bound in (gate.at_least, gate.at_most) if bound is not None]
    if not bounds or not all(map(isfinite, bounds)) or sorted(bounds) != bounds:
        raise complaint(key, "lets everything or nothing through", "Give at_least, at_most or both, the lesser first")
    if (gate.figure is Figure.INTENSITY_DISTANCE) != bool(gate.reference):
        remedy = "Give intensity_distance the percentiles of the training, and no other figure any"
        raise complaint(f"{key}.reference", "does not go with the figure", remedy)
    for number, each in enumerate(gate.reference):
        if not 0 <= each.percentile <= 100 or not each.deviation > 0 or not isfinite(each.mean + each.deviation):
            problem = "is no percentile with a mean and a deviation"
            raise complaint(f"{key}.reference[{number}]", problem, "Give 0 to 100, a number, and one above 0")
