from __future__ import annotations

import pytest
from scipy import stats

from node.triage.simulate.student import estimate, quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 19, 20, 199])
def test_the_quantile_is_students(degrees: int) -> None:
    assert quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)


def test_the_interval_is_that_of_the_mean_of_independent_replications() -> None:
    values = [3.0, 5.0, 4.0, 8.0]
    found = estimate(values)
    assert found is not None
    interval = stats.t.interval(0.95, 3, loc=5.0, scale=stats.sem(values))
    assert (found.low, found.value, found.high) == pytest.approx((interval[0], 5.0, interval[1]))
    assert found.count == 4


def test_one_replication_has_no_interval() -> None:
    assert estimate([1.0]) is None
