"""A night through the whole node: what an independent scorer makes of what was sent is what stands on the list."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys.night import judge
from tests.journeys.night.hospital import Hospital, open_night
from tests.journeys.night.plan import ELSEWHERE, Night
from tests.journeys.night.records import numbers_asked

pytestmark = pytest.mark.timeout(600)

_SEED, _STUDIES = 1, 12


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    with open_night(tmp_path_factory.mktemp("night"), Night(_SEED, _STUDIES)) as hospital:
        for study in hospital.night.studies:
            hospital.tell(study)
            hospital.scan(study)
            if study.ordered_after:
                hospital.order(study, study.ordered_after)
        hospital.is_through("every study to be read", limit_s=300)
        hospital.people_act()
        hospital.is_through("what people did", limit_s=120)
        yield hospital


@pytest.fixture(scope="module")
def rows(hospital: Hospital) -> list[judge.Row]:
    return hospital.site.json("worklist")["studies"]


def test_the_night_has_something_of_everything() -> None:
    """The comparison below says nothing of what does not happen."""
    studies = Night(_SEED, _STUDIES).studies
    assert {each.kind for each in studies} == {"MR", "CT", "DX"}
    assert {"", ELSEWHERE} <= {each.person.id and each.person.issuer for each in studies}
    assert {told.by for each in studies for told in [*each.header, *each.person.told]} == {"header", "adt", "fhir"}
    for what in ("prior", "namesake", "reported", "ordered_before", "ordered_after", "is_stat", "follows"):
        assert any(getattr(each, what) for each in studies), what
    assert any(each.pinned is not None for each in studies)


def test_every_study_stands_where_an_independent_scorer_puts_it_for_the_same_reasons(
    hospital: Hospital, rows: list[judge.Row]
) -> None:
    assert judge.differences(hospital, rows) == []


def test_the_reading_worklist_of_the_hospital_was_told_the_lane_in_which_each_study_stands(
    hospital: Hospital, rows: list[judge.Row]
) -> None:
    assert judge.told_wrongly(hospital, rows) == []
    stat = [each for each in hospital.night.studies if each.is_stat and each.model and each.person.id]
    assert all(hospital.ris.told_of(each.accession) for each in stat if not each.reported)


def test_a_place_that_is_wrong_would_be_noticed(hospital: Hospital, rows: list[judge.Row]) -> None:
    wrong = [*rows[:-2], {**rows[-1], "place": rows[-2]["place"]}, {**rows[-2], "place": rows[-1]["place"]}]
    assert len(judge.differences(hospital, wrong)) == 2
    later = [{**rows[0], "received_at": "2026-01-01T00:00:00+00:00"}, *rows[1:]]
    assert judge.differences(hospital, later)


def test_nobody_was_asked_about_whom_nobody_knows_and_no_namesake_was_fetched(hospital: Hospital) -> None:
    night = hospital.night
    abroad = [each.person.id for each in night.studies if each.person.issuer == ELSEWHERE]
    asked = numbers_asked(hospital.records)
    assert "" not in asked
    assert [asked.count(each) for each in abroad] == [1] * len(abroad)  # for its namesake here
    held = {row["study_instance_uid"] for row in hospital.site.rows("SELECT study_instance_uid FROM study")}
    assert held == {each.uid for each in night.studies} | {each.prior for each in night.studies} - {""}
