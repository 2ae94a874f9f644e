"""Splits keep groups whole, classes in balance, and come out the same on every machine."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn.case import Case
from node.learn.dataset import open_dataset
from node.learn.dataset.duplicates import grouped, members
from node.learn.dataset.survey import Sight, Survey, survey
from node.learn.recipe import Splitting
from node.learn.split import Fold, Split, read_split, split_text
from node.learn.splitting import check, make_split, strata_of
from tests.learn import synthetic


def surveyed(cases: list[Case]) -> Survey:
    """Cases that were looked at, without pixels."""
    nothing = np.zeros((1, 1), np.float32)
    sights = tuple(
        Sight(key=case.key, digest=case.key, truth_digest=str(case.label), shape=(1, 1), channels=1, spacing_mm=(),
              minimum=0, maximum=1, is_finite=True, sample=nothing)
        for case in cases
    )  # fmt: skip
    return Survey(source=Path("set"), task=Task.CLASSIFICATION, classes=("a", "b", "c"), cases=tuple(cases),
                  sights=sights, thumbnails=np.zeros((len(cases), 1), np.float32))  # fmt: skip


@st.composite
def grouped_cases(draw, most=4):
    """Cases of up to three classes, in groups of 1 to `most`, of at least six groups."""
    groups = draw(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=most), min_size=6, max_size=40))
    cases, where = [], {}
    for number, labels in enumerate(groups):
        for place, label in enumerate(labels):
            case = Case(key=f"{number * 7919 % 997:03}/{place}", label=label)
            cases.append(case)
            where[case.key] = f"{number * 7919 % 997:03}/0"
    return sorted(cases, key=lambda case: case.key), where


def parts_of(fold: Fold) -> dict[str, tuple[str, ...]]:
    return {"train": fold.train, "validation": fold.validation, "test": fold.test}


@settings(max_examples=60, deadline=None)
@given(given_cases=grouped_cases(), folds=st.sampled_from([0, 2, 3, 5]), seed=st.integers(0, 9))
def test_no_group_is_torn_and_every_case_is_in_one_part(given_cases, folds, seed):
    cases, groups = given_cases
    split = make_split(surveyed(cases), groups, Splitting(folds=folds, seed=seed))
    for fold in split.folds:
        placed = [key for part in parts_of(fold).values() for key in part]
        assert sorted(placed) == [case.key for case in cases]
        where = {key: part for part, keys in parts_of(fold).items() for key in keys}
        assert all(len({where[key] for key in keys}) == 1 for keys in members(groups).values())


@settings(max_examples=60, deadline=None)
@given(given_cases=grouped_cases(), folds=st.sampled_from([2, 3, 5]))
def test_every_case_is_tested_once_over_the_folds(given_cases, folds):
    cases, groups = given_cases
    split = make_split(surveyed(cases), groups, Splitting(folds=folds))
    assert sorted(key for fold in split.folds for key in fold.test) == [case.key for case in cases]


@settings(max_examples=60, deadline=None)
@given(given_cases=grouped_cases(most=1), folds=st.sampled_from([0, 2, 3, 5]), seed=st.integers(0, 9))
def test_without_groups_no_class_is_a_whole_case_off_its_share(given_cases, folds, seed):
    cases, groups = given_cases
    split = make_split(surveyed(cases), groups, Splitting(folds=folds, seed=seed))
    label = {case.key: case.label for case in cases}
    totals = Counter(label.values())
    share = 1 / folds if folds else 0.1
    for fold in split.folds:
        held = Counter(label[key] for key in fold.test)
        assert all(abs(held[each] - share * totals[each]) < 1 for each in totals)


# What was measured, not proven: always the same examples.
@settings(max_examples=60, deadline=None, derandomize=True)
@given(given_cases=grouped_cases(), folds=st.sampled_from([2, 3, 5]))
def test_with_groups_no_fold_strays_from_its_share_by_more_than_two_of_the_largest(given_cases, folds):
    cases, groups = given_cases
    split = make_split(surveyed(cases), groups, Splitting(folds=folds))
    largest = max(Counter(groups.values()).values())
    for fold in split.folds:
        assert abs(len(fold.test) - len(cases) / folds) <= 2 * largest + 2


@settings(max_examples=30, deadline=None)
@given(given_cases=grouped_cases(), order=st.randoms(use_true_random=False), folds=st.sampled_from([0, 4]))
def test_the_order_of_files_changes_nothing(given_cases, order: random.Random, folds):
    cases, groups = given_cases
    mixed = list(cases)
    order.shuffle(mixed)
    splitting = Splitting(folds=folds)
    assert make_split(surveyed(mixed), dict(sorted(groups.items(), reverse=True)), splitting).folds == (
        make_split(surveyed(cases), groups, splitting).folds
    )


def plain(count: int = 40, part: str = "") -> list[Case]:
    return [Case(key=f"{part or 'case'}/{place:02}", label=place % 2, part=part) for place in range(count)]


def alone(cases: list[Case]) -> dict[str, str]:
    return {case.key: case.key for case in cases}


def test_a_seed_gives_the_split_that_it_gave_before():
    cases = plain(20)
    split = make_split(surveyed(cases), alone(cases), Splitting(seed=3))
    # Written down: another version, library or machine must come to the same.
    assert split.folds[0].test == ("case/06", "case/15")
    assert split.folds[0].validation == ("case/04", "case/07")
    other = make_split(surveyed(cases), alone(cases), Splitting(seed=4))
    assert other.folds != split.folds


def test_shares_are_kept_to():
    cases = plain(200)
    fold = make_split(surveyed(cases), alone(cases), Splitting(shares=(0.7, 0.1, 0.2))).folds[0]
    assert (len(fold.train), len(fold.validation), len(fold.test)) == (140, 20, 40)
    no_test = make_split(surveyed(cases), alone(cases), Splitting(shares=(0.5, 0.5, 0))).folds[0]
    assert (len(no_test.train), len(no_test.validation), len(no_test.test)) == (100, 100, 0)


def test_validation_of_a_fold_is_taken_from_its_training_part():
    cases = plain(100)
    split = make_split(surveyed(cases), alone(cases), Splitting(folds=5))
    # A ninth of 80, class by class: 4.4 of 40.
    assert {(len(each.train), len(each.validation), len(each.test)) for each in split.folds} == {(72, 8, 20)}
    assert all(not set(each.validation) & {*each.train, *each.test} for each in split.folds)


def test_fewer_groups_than_parts_are_refused():
    cases = plain(6)
    groups = {case.key: f"case/0{place // 3 * 3}" for place, case in enumerate(cases)}
    with pytest.raises(Misconfigured, match=r"split\.folds: 2 groups cannot be parted into 3"):
        make_split(surveyed(cases), groups, Splitting(folds=3))


def official() -> tuple[list[Case], dict[str, str]]:
    """Official parts, and one image of train that is nearly one of test."""
    cases = plain(6, "test") + plain(20, "train") + plain(6, "validation")
    return cases, alone(cases) | {"train/04": "test/01"}


def test_official_parts_are_kept_and_what_leaks_is_left_out_of_training():
    cases, groups = official()
    split = make_split(surveyed(cases), groups, Splitting(official=True))
    fold = split.folds[0]
    assert fold.test == tuple(case.key for case in cases if case.part == "test")
    assert fold.validation == tuple(case.key for case in cases if case.part == "validation")
    assert (len(fold.train), split.left_out) == (19, ("train/04",))
    assert "1 cases left out of training" in split.method
    check(split, dataset_of(cases), groups)


def test_folds_within_official_parts_never_train_on_the_test_part():
    cases, groups = official()
    split = make_split(surveyed(cases), groups, Splitting(official=True, folds=3))
    test = tuple(case.key for case in cases if case.part == "test")
    assert all(fold.test == test and not set(fold.train) & set(fold.validation) for fold in split.folds)
    validated = sorted(key for fold in split.folds for key in fold.validation)
    assert validated == sorted(case.key for case in cases if case.part != "test" and case.key != "train/04")


def test_official_parts_that_are_not_there_are_refused():
    cases = plain(20)
    with pytest.raises(Misconfigured, match=r"split\.official.*names no parts"):
        make_split(surveyed(cases), alone(cases), Splitting(official=True))


class _Named:
    """What `check` asks of a data set."""

    name = "set"

    def __init__(self, cases: list[Case]) -> None:
        self.cases = tuple(cases)


def dataset_of(cases: list[Case]):
    return _Named(cases)


def made(cases: list[Case], groups: dict[str, str] | None = None) -> Split:
    return make_split(surveyed(cases), groups or alone(cases), Splitting())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda cases, split, groups: (cases[1:], split, groups), "cases that the data set does not have (1): case/00"),
        (lambda cases, split, groups: ([*cases, Case(key="new", label=0)], split, groups), "cases in no part (1): new"),
        (lambda cases, split, groups: (cases, twice(split), groups), "cases placed twice (1): "),
        (
            lambda cases, split, groups: (cases, split, groups | {split.folds[0].test[0]: split.folds[0].train[0]}),
            "groups torn apart (1): ",
        ),
        (
            lambda cases, split, groups: (cases, replace(split, dataset_digest="0" * 64), groups),
            "the same cases, but their labels or pixels are others",
        ),
    ],
)
def test_a_split_that_does_not_fit_is_refused_and_says_why(change, told):
    cases = plain(30)
    check(made(cases), dataset_of(cases), alone(cases), surveyed(cases).digest)
    changed, split, groups = change(cases, made(cases), alone(cases))
    with pytest.raises(Misconfigured) as caught:
        check(split, dataset_of(changed), groups, surveyed(cases).digest)
    assert told in str(caught.value)


def twice(split: Split) -> Split:
    fold = split.folds[0]
    return replace(split, folds=(replace(fold, test=(*fold.test, fold.train[0])),))


def test_a_split_is_read_as_it_was_written(tmp_path):
    cases, groups = official()
    split = make_split(surveyed(cases), groups, Splitting(official=True))
    (tmp_path / "split.json").write_text(split_text(split), encoding="utf-8")
    assert read_split(tmp_path / "split.json") == split


def test_a_segmentation_is_stratified_by_the_volume_of_its_foreground(tmp_path):
    root = synthetic.nifti_pairs(tmp_path / "set", 9)
    empty = np.zeros((16, 20, 12), np.uint8)
    for place in range(8):
        labels = empty.copy()
        labels[: place + 1, :5, :5] = 1
        synthetic.write_nifti(root / "labels" / f"case_{place:02}.nii.gz", labels)
    synthetic.write_nifti(root / "labels" / "case_08.nii.gz", empty)
    strata = strata_of(survey(open_dataset(root)))
    assert list(strata.values()) == [f"size {place // 2 + 1} of 4" for place in range(8)] + ["empty"]


def test_a_real_split_keeps_duplicates_together(tmp_path):
    root = synthetic.class_folders(tmp_path / "set")
    for place in range(4):
        source = root / "benign" / f"benign ({place}).png"
        (root / "malignant" / f"copy {place}.png").write_bytes(source.read_bytes())
    seen = survey(open_dataset(root))
    groups = grouped(seen, 0.95)
    split = make_split(seen, groups, Splitting(folds=4))
    check(split, open_dataset(root), groups, seen.digest)
    assert len(split.groups) == 8


@st.composite
def few_groups(draw):
    """A classification or a segmentation of 3 to 20 groups; every class has three of them, as a data set has to."""
    count = draw(st.integers(3, 20))
    classes = min(draw(st.integers(1, 3)), count // 3)
    is_segmented = draw(st.booleans())
    cases, where = [], {}
    for number in range(count):
        for place in range(draw(st.integers(1, 3))):
            case = Case(key=f"{number:02}/{place}", label=None if is_segmented else number % classes)
            cases.append(case)
            where[case.key] = f"{number:02}/0"
    seen = surveyed(cases)
    sizes = tuple(replace(sight, boxes=draw(st.integers(0, 9))) for sight in seen.sights)
    return replace(seen, sights=sizes) if is_segmented else seen, where


@settings(max_examples=80, deadline=None)
@given(given_cases=few_groups(), folds=st.sampled_from([0, 2, 3, 5]), seed=st.integers(0, 3))
def test_every_part_that_was_asked_for_has_a_group_or_it_is_said(given_cases, folds, seed):
    seen, groups = given_cases
    count = len(set(groups.values()))
    if count < folds:
        return
    split = make_split(seen, groups, Splitting(folds=folds, seed=seed))
    assert sorted(
        key for key in groups if key in {*split.folds[0].train, *split.folds[0].validation, *split.folds[0].test}
    ) == sorted(groups)
    labels = {case.key: case.label for case in seen.cases}
    for fold in split.folds:
        assert fold.test
        # No class is taken from what is learnt; nor is a case shown twice to fill a part.
        assert {labels[key] for key in fold.train} == set(labels.values())
        assert fold.validation or (folds == 2 and count - len({groups[key] for key in fold.test}) < 4)
        assert not set(fold.validation) & {*fold.train, *fold.test}
    empty = sum(not fold.validation for fold in split.folds)
    assert (f"no validation part in {empty} of {folds}: there are too few groups" in split.method) == bool(empty)


def test_twelve_cases_of_a_segmentation_leave_one_to_choose_by_and_one_to_judge_by():
    seen = surveyed([Case(key=f"{place:02}") for place in range(12)])
    seen = replace(seen, sights=tuple(replace(sight, boxes=1 + place) for place, sight in enumerate(seen.sights)))
    fold = make_split(seen, alone(list(seen.cases)), Splitting()).folds[0]
    assert (len(fold.train), len(fold.validation), len(fold.test)) == (10, 1, 1)
