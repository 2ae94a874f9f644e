"""A rush at the door: what counts as one, and how describing stands back without starving."""

from __future__ import annotations

import pytest

from node.receive.rush import BETWEEN_S, LONGEST_S, Courtesy, Meter


class Hands:
    """A clock turned by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("objects", "octets", "is_rush"),
    [(0, 0, False), (30, 1_000_000, False), (50, 1_000_000, True), (2, 40_000_000, True)],
)
def test_a_rush_is_many_objects_or_many_bytes_since_it_was_asked_last(objects: int, octets: int, is_rush: bool) -> None:
    hands, taken = Hands(), [10, 10_000]
    meter = Meter(lambda: (taken[0], taken[1]), hands)
    hands.now_s += 0.25
    taken[0] += objects
    taken[1] += octets
    assert meter.is_rush() is is_rush
    hands.now_s += 0.25
    assert not meter.is_rush()


class Waits:
    """Sleeps by turning the clock, with the listener marking a rush until `until_s`."""

    def __init__(self, hands: Hands, until_s: float) -> None:
        self.hands = hands
        self.until_s = until_s
        self.courtesy = Courtesy(self, hands)

    def __call__(self, seconds: float) -> bool:
        self.hands.now_s += seconds
        if self.hands.now_s < self.until_s:
            self.courtesy.mark()
        return False

    def stood_back_s(self) -> float:
        began_s = self.hands.now_s
        self.courtesy.stand_back()
        return self.hands.now_s - began_s


def test_without_a_rush_nobody_waits() -> None:
    assert Waits(Hands(), 0.0).stood_back_s() == 0.0


def test_describing_goes_on_soon_after_the_rush() -> None:
    hands = Hands()
    waits = Waits(hands, hands.now_s + 2.0)
    waits.courtesy.mark()
    assert 2.0 <= waits.stood_back_s() < 3.0
    assert waits.stood_back_s() == 0.0


def test_in_a_rush_that_lasts_describing_takes_its_turns() -> None:
    hands = Hands()
    waits = Waits(hands, hands.now_s + 1000.0)
    waits.courtesy.mark()
    assert waits.stood_back_s() == pytest.approx(LONGEST_S, abs=0.2)
    waits.courtesy.mark()
    assert waits.stood_back_s() == pytest.approx(BETWEEN_S, abs=0.2)


def test_who_is_to_end_does_not_stand_about() -> None:
    hands = Hands()
    courtesy = Courtesy(lambda _seconds: True, hands)
    courtesy.mark()
    courtesy.stand_back()
    assert hands.now_s == 100.0
