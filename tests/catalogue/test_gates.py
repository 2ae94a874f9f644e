"""Gates and doubt that cannot be meant are complained about where the card is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.catalogue.gates import check_gates
from node.domain.gate import Figure, Gate, Percentile, Uncertainty
from node.errors import Misconfigured
from tests.fakes import card

MEDIAN = Percentile(percentile=50, mean=0, deviation=1)


def complaint(key: str, problem: str, remedy: str) -> Misconfigured:
    return Misconfigured("model.toml", key, problem, remedy)


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"gates": (Gate(figure=Figure.SPREAD),)}, r"gates\[0\]"),
        ({"gates": (Gate(figure=Figure.SPREAD, at_least=2, at_most=1),)}, r"gates\[0\]"),
        ({"gates": (Gate(figure=Figure.SPREAD, at_least=float("nan")),)}, r"gates\[0\]"),
        ({"gates": (Gate(figure=Figure.INTENSITY_DISTANCE, at_most=3),)}, r"gates\[0\].reference"),
        ({"gates": (Gate(figure=Figure.SPREAD, at_most=3, reference=(MEDIAN,)),)}, r"gates\[0\].reference"),
        (
            {
                "gates": (
                    Gate(figure=Figure.INTENSITY_DISTANCE, at_most=3, reference=(replace(MEDIAN, deviation=0.0),)),
                )
            },
            r"reference\[0\]",
        ),
        ({"uncertainty": Uncertainty(method="dropout")}, "uncertainty.method"),
        ({"uncertainty": Uncertainty(method="ensemble")}, "uncertainty.method"),
        ({"uncertainty": Uncertainty(axes=(3,))}, "uncertainty.axes"),
        ({"uncertainty": Uncertainty(doubtful_from=0.0)}, "uncertainty.doubtful_from"),
    ],
)
def test_what_cannot_be_meant_is_named(said: dict[str, object], key: str) -> None:
    with pytest.raises(Misconfigured, match=key):
        check_gates(replace(card(), **said), complaint)


def test_what_can_be_meant_passes() -> None:
    gates = (
        Gate(figure=Figure.MOST_COMMON_SHARE, at_most=0.9),
        Gate(figure=Figure.INTENSITY_DISTANCE, at_most=3, reference=(MEDIAN,)),
    )
    check_gates(replace(card(), gates=gates, uncertainty=Uncertainty(doubtful_from=0.1)), complaint)
