"""A night once more, by hand: readings take what is on top, at the moment at which they happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from node.triage.replay import Course, Fate, fates, mean_wait_min

EVENING = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return EVENING + timedelta(minutes=minutes)


def course(uid: str, arrived: float, *scores: tuple[float, float], listed: float | None = None) -> Course:
    """`scores`: (from minute, score)."""
    listed_at = at(arrived if listed is None else listed)
    return Course(
        study_instance_uid=uid,
        arrived_at=at(arrived),
        listed_at=listed_at,
        positions=tuple((at(minute), (2, -score, arrived, uid)) for minute, score in scores),
    )


def test_a_reading_takes_what_is_on_top_when_it_happens() -> None:
    told = fates(
        [course("a", 0, (0, 0)), course("b", 10, (10, 50)), course("c", 60, (60, 90))], [at(20), at(30)], at(120)
    )
    assert told == {
        "b": Fate(read_at=at(20), place=None, wait_min=10),
        "a": Fate(read_at=at(30), place=None, wait_min=30),
        "c": Fate(read_at=None, place=1, wait_min=60),
    }
    assert mean_wait_min(told) == 100 / 3


def test_a_result_counts_only_once_it_is_known() -> None:
    first, second = course("a", 0, (0, 0)), course("b", 1, (1, 0), (25, 50))
    assert fates([first, second], [at(20)], at(60))["a"].read_at == at(20)
    assert fates([first, second], [at(30)], at(60))["b"].read_at == at(30)


def test_a_study_is_in_no_list_before_it_is_closed_and_its_wait_counts_from_its_arrival() -> None:
    late = course("a", 0, (40, 99), listed=40)
    told = fates([late, course("b", 10, (10, 0))], [at(30)], at(60))
    assert told["b"].read_at == at(30)
    assert told["a"] == Fate(read_at=None, place=1, wait_min=60)


def test_a_reading_of_an_empty_list_takes_nothing_and_without_readings_the_places_at_the_end_count() -> None:
    studies = [course("a", 10, (10, 0)), course("b", 20, (20, 5))]
    assert fates(studies, [at(5)], at(60)) == fates(studies, [], at(60))
    assert {uid: each.place for uid, each in fates(studies, [], at(60)).items()} == {"b": 1, "a": 2}
    assert mean_wait_min({}) == 0.0
