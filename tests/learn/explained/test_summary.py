"""Figures of explanations over the cases."""

from __future__ import annotations

import numpy as np
import pytest

from node.learn.explained.explanations import CaseExplained, Explanations
from node.learn.explained.summary import ENOUGH, _medians, baselines, summarised


def _found(values: list[float], groups: list[str] | None = None) -> Explanations:
    cases = tuple(
        CaseExplained(
            key=str(n),
            group=groups[n] if groups else str(n),
            seed=0,
            fold=0,
            truth=n % 2,
            answer=1,
            region=0.25,
            centre=float(n % 4 == 0),
            maps={"lime": {"infidelity": value, "pointing_game": float(n < 3)}},
        )
        for n, value in enumerate(values)
    )
    return Explanations(
        digest="",
        classes=("no", "yes"),
        samples={"lime": 128},
        told_forwards={"lime": 128.0},
        cases=cases,
        is_complete=True,
        minutes=1.0,
        seconds=1.0,
        clock="seconds",
    )


def test_a_share_is_a_mean_and_another_figure_a_median() -> None:
    told = summarised(_found([0.1, 0.2, 0.4, 50.0]))["lime"]
    assert told.figures["pointing_game"].value == pytest.approx(0.75)
    assert told.figures["infidelity"].value == pytest.approx(0.3)
    assert (told.pointing_right.value, told.right) == (pytest.approx(0.5), 2)


def test_an_interval_is_told_of_enough_groups_alone() -> None:
    values = [n / 20 for n in range(ENOUGH)]
    told = summarised(_found(values))["lime"].figures["infidelity"]
    assert told.low is not None
    assert told.high is not None
    assert told.value is not None
    assert told.low < told.value < told.high
    fewer = summarised(_found(values, groups=["one"] * 2 + [str(n) for n in range(ENOUGH - 2)]))["lime"]
    assert fewer.figures["infidelity"].low is None
    assert baselines(_found(values).cases)["region"].value == pytest.approx(0.25)


def test_a_median_by_weights_is_that_of_as_many_values() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=9)
    weights = random.integers(0, 4, (50, 9)).astype(np.float64)
    weights[0] = 0
    found = _medians(values, weights)
    assert np.isnan(found[0])
    for row, median in zip(weights[1:], found[1:], strict=True):
        assert median == pytest.approx(np.median(np.repeat(values, row.astype(int))))
