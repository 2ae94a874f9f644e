from __future__ import annotations

from datetime import time
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from node.config.night import NightSettings


def test_the_hours_are_those_of_the_site() -> None:
    night = NightSettings(timezone="Europe/Berlin", window="21:30-05:00", morning="05:15")
    assert (night.zone, night.hours, night.morning_at) == (
        ZoneInfo("Europe/Berlin"),
        (time(21, 30), time(5)),
        time(5, 15),
    )


def test_without_a_zone_they_are_those_of_the_machine() -> None:
    assert NightSettings().zone is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"timezone": "Europe/Bärlin"},
        {"window": "22:00"},
        {"window": "22:00-22:00"},
        {"morning": "6:00"},
        {"morning": "24:00"},
        {"backfill_per_hour": 0},
        {"sleep": True},
    ],
)
def test_what_no_clock_shows_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NightSettings.model_validate(wrong)
