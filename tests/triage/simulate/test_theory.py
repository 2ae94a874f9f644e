"""The formulas against each other, against special cases, and against the published case."""

from __future__ import annotations

from math import fsum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.triage.simulate import theory

RATES = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5)


def scaled(rates: list[float], load: float) -> list[float]:
    """Rates with a mean reading of 10 minutes and that load of one reader."""
    return [rate / sum(rates) * load / 10 for rate in rates]


def test_the_published_case_is_reproduced() -> None:
    diseased, others = theory.waits_of_triage(0.08, 10, 0.1, 0.9, 0.9)
    assert theory.wait_first_come(0.08, 10) == pytest.approx(40.0)
    assert (diseased, others) == (pytest.approx(6.36, abs=0.005), pytest.approx(43.74, abs=0.005))


def test_erlangs_c_of_one_reader_is_the_traffic_and_of_two_known() -> None:
    assert theory.waiting_probability(0.8, 1) == pytest.approx(0.8)
    # 2 ρ² / (1 + ρ) with ρ = 0.8
    assert theory.waiting_probability(1.6, 2) == pytest.approx(2 * 0.64 / 1.8)


@pytest.mark.parametrize("readers", [1, 2, 5])
def test_the_quantiles_of_the_wait_have_its_mean(readers: int) -> None:
    shares = (np.arange(200_000) + 0.5) / 200_000
    rate = 0.08 * readers
    quantiles = [theory.wait_first_come_quantile(share, rate, 10, readers) for share in shares]
    assert float(np.mean(quantiles)) == pytest.approx(theory.wait_first_come(rate, 10, readers), rel=1e-4)


@given(rates=RATES, load=st.floats(0.1, 0.95), readers=st.integers(1, 6))
def test_what_interruption_gives_to_some_it_takes_from_others(rates: list[float], load: float, readers: int) -> None:
    # Conservation (Kleinrock 1965): readings of equal mean, so the number in the room is that of any order.
    rates = scaled(rates, load * readers)
    everybody = theory.wait_first_come(sum(rates), 10, readers) * sum(rates)
    for waits in (theory.waits_interrupted(rates, 10, readers), theory.waits_uninterrupted(rates, 10, readers)):
        assert fsum(rate * wait for rate, wait in zip(rates, waits, strict=True)) == pytest.approx(everybody)
        assert list(waits) == sorted(waits)


@given(rates=RATES, load=st.floats(0.1, 0.95), means=st.lists(st.floats(1, 30), min_size=5, max_size=5))
def test_unequal_readings_conserve_the_work_that_waits(rates: list[float], load: float, means: list[float]) -> None:
    means = means[: len(rates)]
    rates = [load * rate / fsum(rates) / mean for rate, mean in zip(rates, means, strict=True)]
    squares = [2.5 * mean**2 for mean in means]
    waits = theory.waits_uninterrupted_general(rates, means, squares)
    begun = fsum(rate * square for rate, square in zip(rates, squares, strict=True)) / 2
    loads = [rate * mean for rate, mean in zip(rates, means, strict=True)]
    total = fsum(loads)
    waiting = fsum(each * wait for each, wait in zip(loads, waits, strict=True))
    assert waiting == pytest.approx(total * begun / (1 - total))


@given(rates=RATES, load=st.floats(0.1, 0.95))
def test_the_general_formulas_have_the_exponential_ones_as_a_special_case(rates: list[float], load: float) -> None:
    rates = scaled(rates, load)
    means, squares = [10.0] * len(rates), [200.0] * len(rates)
    assert theory.waits_interrupted_general(rates, means, squares) == pytest.approx(theory.waits_interrupted(rates, 10))
    assert theory.waits_uninterrupted_general(rates, means, squares) == pytest.approx(
        theory.waits_uninterrupted(rates, 10)
    )


def test_one_class_alone_is_first_come() -> None:
    for waits in (theory.waits_interrupted([0.16], 10, 2), theory.waits_uninterrupted([0.16], 10, 2)):
        assert waits == pytest.approx((theory.wait_first_come(0.16, 10, 2),))
