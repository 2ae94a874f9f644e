"""How values read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from node.web import wording

NOW = datetime(2026, 1, 10, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("iso", "text"),
    [
        ("2026-01-10T11:59:30+00:00", "30 s"),
        ("2026-01-10T11:01:00+00:00", "59 min"),
        ("2026-01-10T10:01:00+00:00", "119 min"),
        ("2026-01-10T05:00:00+00:00", "7 h"),
        ("2026-01-07T12:00:00+00:00", "3 d"),
        ("2026-01-10T12:00:05+00:00", "0 s"),
        ("", ""),
    ],
)
def test_an_age_is_told_in_the_coarsest_unit_that_still_tells(iso: str, text: str) -> None:
    assert wording.ago(iso, NOW) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Doe^Jane", "Doe, Jane"),
        ("Doe^Jane^Ann^Dr^MD", "Doe, Jane Ann Dr MD"),
        ("^^", ""),
        ("", ""),
        ("=山田^太郎", "山田, 太郎"),
        ("Yamada^Tarou=山田^太郎", "Yamada, Tarou"),
        ("Doe", "Doe"),
    ],
)
def test_a_person_name_is_read_as_people_say_it(value: str, text: str) -> None:
    assert wording.person_name(value) == text


def test_a_date_that_is_none_stays_as_it_is() -> None:
    assert [wording.dicom_date(text) for text in ("20260131", "", "2026.01.31")] == ["2026-01-31", "", "2026.01.31"]


def test_numbers_have_the_decimals_that_say_something() -> None:
    assert [wording.number(value) for value in (1825.4, 12.34, 0.041, 0.0)] == ["1825", "12.3", "0.041", "0"]
    assert [wording.points(value) for value in (30.0, 2.5, 0.0)] == ["+30", "+2.5", ""]


def test_the_ordinary_moves_of_descriptions_are_not_told() -> None:
    moves = [("describe:1", "ready"), ("describe:1", "parked"), ("infer:1", "ready")]
    events = [{"subject": subject, "after": after} for subject, after in moves]
    assert wording.telling(events) == events[1:]
