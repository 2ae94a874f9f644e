from __future__ import annotations

from dataclasses import replace

import pytest

from node.config.priors import PriorSelector
from node.domain.retrieval import EVERYTHING, Wanted
from node.triage.priors import Current, Offered, Standing, applying, first_day, to_look_into, verdicts

TODAY = Current(
    study_instance_uid="1.1",
    study_date="20260101",
    study_time="120000",
    modalities=("CT",),
    body_parts=("CHEST",),
    study_description="CT thorax",
)


def selector(**keys: object) -> PriorSelector:
    return PriorSelector.model_validate({"name": "any", **keys})


def offered(number: int, date: str = "20250101", **changes: object) -> Offered:
    made = Offered(study_instance_uid=f"1.9.{number}", study_date=date, study_time="", modalities=("CT",))
    return replace(made, **changes)  # type: ignore[arg-type]


def told(current: Current, candidates: list[Offered], *selectors: PriorSelector, **more: object) -> dict[str, str]:
    keys = {"doubts": {}, "here": frozenset(), **more}
    found = verdicts(current, candidates, selectors, **keys)  # type: ignore[arg-type]
    return {each.study_instance_uid: f"{each.standing.value}: {each.reason}" for each in found}


def test_a_selector_is_for_the_studies_that_meet_its_clause_and_for_no_study_that_does_not_say() -> None:
    chest = selector(when={"field": "body_part", "op": "is", "value": "chest"})
    assert applying(TODAY, [chest]) == [chest]
    assert applying(replace(TODAY, body_parts=("HEAD",)), [chest]) == []
    assert applying(replace(TODAY, body_parts=()), [chest]) == []
    negative = selector(when={"not": {"field": "body_part", "op": "is", "value": "CHEST"}})
    assert applying(replace(TODAY, body_parts=()), [negative]) == []


def test_the_newest_up_to_the_count_are_taken_and_of_the_others_it_is_said_that_they_come_later() -> None:
    found = told(TODAY, [offered(1, "20230101"), offered(2, "20250101"), offered(3, "20240101")], selector(count=2))
    assert found == {
        "1.9.2": "taken: any",
        "1.9.3": "taken: any",
        "1.9.1": "not taken: any: 2 others come first",
    }


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (offered(1, "20260101", study_time="130000"), "not earlier"),
        (offered(1, ""), "its date is not told"),
        (offered(1, "20150101"), "any: too long ago"),
        (offered(1, modalities=("MR",)), "any: of another modality, or none told"),
        (offered(1, body_parts=("HEAD",)), "any: of another body part"),
        (offered(1, study_instance_uid="1.1"), "the study itself"),
    ],
)
def test_what_is_no_prior_is_told_with_the_reason(candidate: Offered, reason: str) -> None:
    (said,) = told(TODAY, [candidate], selector(body_part="same")).values()
    assert said == f"not taken: {reason}"


def test_a_body_part_that_is_not_told_comes_after_those_that_agree() -> None:
    candidates = [offered(1, "20250601"), offered(2, "20240101", body_parts=("Chest",))]
    found = told(TODAY, candidates, selector(body_part="same", count=1))
    assert found["1.9.2"] == "taken: any"
    assert found["1.9.1"].startswith("not taken")
    alone = told(TODAY, candidates[:1], selector(body_part=["THORAX"], count=1))
    assert alone["1.9.1"] == "taken: any; the archive tells no body part"


def test_one_who_may_be_another_takes_nobodys_place() -> None:
    found = told(TODAY, [offered(1, "20250601"), offered(2)], selector(count=1), doubts={"1.9.1": "birth date differs"})
    assert found == {"1.9.1": "candidate, unconfirmed: birth date differs", "1.9.2": "taken: any"}


def test_one_that_is_here_counts_and_is_not_fetched_again() -> None:
    found = told(TODAY, [offered(1, "20250601"), offered(2)], selector(count=1), here=frozenset({"1.9.1"}))
    assert found["1.9.1"] == "here: any; it is here already"
    assert found["1.9.2"].startswith("not taken")


def test_each_selector_takes_its_own_and_what_two_want_comes_with_all_that_either_wants() -> None:
    images = selector(name="images", count=1, series_modalities=["CT"], include_results=False)
    reports = selector(name="reports", count=2, modalities="any", series_modalities=[])
    candidates = [offered(1, "20250601"), offered(2, modalities=("MR",))]
    found = verdicts(TODAY, candidates, [images, reports], doubts={}, here=frozenset())
    assert [(each.standing, each.selector) for each in found] == [
        (Standing.TAKEN, "images"),
        (Standing.TAKEN, "reports"),
    ]
    assert found[0].wanted == Wanted(modalities=("CT",), results=True)
    assert found[1].wanted == Wanted(modalities=(), results=True)


def test_only_candidates_that_could_be_taken_are_asked_for_their_body_part() -> None:
    candidates = [offered(1), offered(2, modalities=("MR",)), offered(3, "20101010"), offered(4, "20250601")]
    assert to_look_into(TODAY, candidates, [selector()]) == []
    assert to_look_into(TODAY, candidates, [selector(body_part="same")]) == ["1.9.4", "1.9.1"]


def test_the_query_reaches_as_far_back_as_the_longest_selector() -> None:
    assert first_day("20260101", [selector(within_days=10), selector(within_days=31)]) == "20251201"
    assert first_day("yesterday", [selector()]) == ""


def test_series_are_wanted_by_their_modality_and_results_beside_them() -> None:
    some = Wanted(modalities=("CT",), results=True)
    assert [some.takes(each) for each in ("CT", "MR", "SR", "SEG", "")] == [True, False, True, True, True]
    bare = Wanted(modalities=("CT", "SEG"), results=False)
    assert [bare.takes(each) for each in ("CT", "SR", "SEG", "PR")] == [True, False, True, False]
    assert some.and_also(EVERYTHING) == EVERYTHING
