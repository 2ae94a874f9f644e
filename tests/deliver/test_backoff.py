from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.deliver.backoff import backoff_s


@given(st.integers(0, 10**6), st.floats(0.01, 600), st.floats(0.01, 3600))
def test_a_wait_is_never_longer_than_the_maximum_and_never_nothing(
    failures: int, first_s: float, maximum_s: float
) -> None:
    wait_s = backoff_s(failures, first_s=first_s, maximum_s=maximum_s)
    assert 0.75 * min(first_s, maximum_s) <= wait_s <= maximum_s


def test_waits_double_with_each_failure() -> None:
    for failures, full_s in ((1, 5), (2, 10), (3, 20), (7, 300)):
        assert 0.75 * full_s <= backoff_s(failures, first_s=5, maximum_s=300) <= full_s


def test_waits_are_not_all_the_same() -> None:
    assert len({backoff_s(1, first_s=5, maximum_s=300) for _ in range(20)}) > 1
