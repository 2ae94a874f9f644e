"""Of many refusals of one caller only some are told."""

from __future__ import annotations

from node.receive.crowd import MOST, WITHIN_S, Crowd


def test_the_first_refusals_are_told_then_none_then_how_many_were_not() -> None:
    now_s = [50.0]
    crowd = Crowd(lambda: now_s[0])
    assert [crowd.untold("10.0.0.1") for _ in range(MOST + 7)] == [0] * MOST + [None] * 7
    now_s[0] += WITHIN_S
    assert [crowd.untold("10.0.0.1"), crowd.untold("10.0.0.1")] == [7, 0]


def test_one_callers_crowd_silences_nobody_else() -> None:
    crowd = Crowd(lambda: 50.0)
    for _ in range(MOST + 1):
        crowd.untold("10.0.0.1")
    assert crowd.untold("10.0.0.1") is None
    assert crowd.untold("10.0.0.2") == 0


def test_many_addresses_do_not_fill_the_memory() -> None:
    crowd = Crowd(lambda: 50.0)
    for number in range(5000):
        crowd.untold(f"fe80::{number:x}")
    assert len(crowd._counts) <= 1000
