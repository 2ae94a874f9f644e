from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.triage.nights import following, hour_of, latest, moment_of, night_of


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type]


BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = (time(22), time(6))
#: Zones whose clocks are turned at midnight, by half an hour, across the date line, southern, or never.
ZONES = [
    *("Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"),
    *("Pacific/Apia", "Asia/Beirut", "Africa/Cairo", "America/Havana", "Pacific/Chatham", "UTC", "Asia/Tehran"),
]
zones = st.sampled_from(ZONES).map(ZoneInfo)
minutes = st.integers(0, 24 * 60 - 1).map(lambda number: time(number // 60, number % 60))
windows = st.tuples(minutes, minutes).filter(lambda pair: pair[0] != pair[1])
moments = st.integers(0, 32 * 366 * 86400).map(lambda after_s: utc(2005, 1, 1) + timedelta(seconds=after_s))
days = st.dates(date(2005, 1, 1), date(2036, 12, 31))


def test_a_night_is_named_by_the_evening_on_which_it_begins() -> None:
    found = hour_of(utc(2026, 1, 15, 1), NIGHT, BERLIN)
    assert (found.night.day, found.inside, found.boundary_at) == (date(2026, 1, 14), True, utc(2026, 1, 15, 5))


def test_by_day_the_last_night_is_over_and_the_next_is_told() -> None:
    found = hour_of(utc(2026, 1, 15, 12), NIGHT, BERLIN)
    assert (found.night.day, found.inside, found.boundary_at) == (date(2026, 1, 14), False, utc(2026, 1, 15, 21))


def test_a_window_without_hours_is_always() -> None:
    found = hour_of(utc(2026, 1, 15, 12), None, BERLIN)
    assert (found.night.day, found.inside, found.boundary_at) == (date(2026, 1, 15), True, utc(2026, 1, 15, 23))


def test_the_night_in_which_clocks_go_forward_is_an_hour_shorter() -> None:
    night = night_of(date(2026, 3, 28), NIGHT, BERLIN)
    assert night is not None
    assert (night.begins_at, night.ends_at) == (utc(2026, 3, 28, 21), utc(2026, 3, 29, 4))


def test_the_night_in_which_clocks_go_back_is_an_hour_longer() -> None:
    night = night_of(date(2026, 10, 24), NIGHT, BERLIN)
    assert night is not None
    assert (night.begins_at, night.ends_at) == (utc(2026, 10, 24, 20), utc(2026, 10, 25, 5))


def test_a_time_that_does_not_exist_comes_with_the_first_moment_after_it() -> None:
    assert moment_of(date(2026, 3, 29), time(2, 30), BERLIN) == utc(2026, 3, 29, 1)


def test_a_time_that_comes_twice_is_its_first_coming_and_is_due_once() -> None:
    day, half_past_two = date(2026, 10, 25), time(2, 30)
    assert moment_of(day, half_past_two, BERLIN) == utc(2026, 10, 25, 0, 30)
    for minutes_later in (0, 30, 59, 60, 61, 120):
        at = utc(2026, 10, 25, 0, 30) + timedelta(minutes=minutes_later)
        assert latest(at, half_past_two, BERLIN) == (day, utc(2026, 10, 25, 0, 30))
        assert following(at, half_past_two, BERLIN)[0] == date(2026, 10, 26)


def test_a_window_that_ends_in_the_hour_that_comes_twice_does_not_open_again() -> None:
    window = (time(22), time(2, 30))
    inside = [hour_of(utc(2026, 10, 25, 0, minute), window, BERLIN).inside for minute in (29, 30, 59)]
    assert inside == [True, False, False]
    assert not hour_of(utc(2026, 10, 25, 1, 15), window, BERLIN).inside  # 02:15 for the second time


def test_a_day_that_a_country_leaves_out_has_neither_night_nor_morning() -> None:
    apia = ZoneInfo("Pacific/Apia")
    assert moment_of(date(2011, 12, 30), time(6), apia) is None
    assert night_of(date(2011, 12, 30), NIGHT, apia) is None
    night = night_of(date(2011, 12, 29), NIGHT, apia)
    assert night is not None
    assert night.ends_at == moment_of(date(2011, 12, 31), time(6), apia)


@pytest.mark.parametrize("window", [NIGHT, (time(2, 15), time(2, 45)), (time(0, 30), time(23, 30)), None])
def test_over_the_years_every_local_day_has_one_night_and_one_morning(window: tuple[time, time] | None) -> None:
    for name in ("Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo"):
        zone = ZoneInfo(name)
        nights, mornings = [], []
        moment = utc(2015, 1, 1)
        while moment < utc(2016, 12, 31):
            night = hour_of(moment, window, zone).night.day
            morning = latest(moment, time(2, 30), zone)[0]
            nights += [night] if night not in nights[-1:] else []
            mornings += [morning] if morning not in mornings[-1:] else []
            moment += timedelta(hours=5)
        for found in (nights, mornings):
            assert found == [found[0] + timedelta(days=step) for step in range(len(found))]


@settings(max_examples=150, deadline=None)
@given(moment=moments, window=windows, zone=zones)
def test_a_moment_is_in_the_night_that_began_last_until_its_boundary(
    moment: datetime, window: tuple[time, time], zone: ZoneInfo
) -> None:
    found = hour_of(moment, window, zone)
    assert found.night.begins_at <= moment < found.boundary_at
    assert found.inside == (moment < found.night.ends_at)
    before = hour_of(found.boundary_at - timedelta(seconds=1), window, zone)
    assert before.night == found.night or found.boundary_at - moment < timedelta(seconds=1)
    after = hour_of(found.boundary_at, window, zone)
    assert after.inside != found.inside or after.night != found.night


@settings(max_examples=150, deadline=None)
@given(day=days, at=minutes, zone=zones)
def test_a_moment_shows_the_time_of_the_day_or_the_first_after_it(day: date, at: time, zone: ZoneInfo) -> None:
    found = moment_of(day, at, zone)
    if found is None:
        assert (day, zone.key) == (date(2011, 12, 30), "Pacific/Apia")
        return
    shown = found.astimezone(zone).replace(tzinfo=None)
    assert shown >= datetime.combine(day, at)
    earlier = (found - timedelta(seconds=1)).astimezone(zone).replace(tzinfo=None)
    assert earlier < datetime.combine(day, at)


@settings(max_examples=150, deadline=None)
@given(moment=moments, at=minutes, zone=zones)
def test_what_came_last_and_what_comes_next_enclose_the_moment(moment: datetime, at: time, zone: ZoneInfo) -> None:
    (last, came), (coming, comes) = latest(moment, at, zone), following(moment, at, zone)
    assert came <= moment < comes
    assert last < coming
    assert coming - last == timedelta(days=1) or zone.key == "Pacific/Apia"
