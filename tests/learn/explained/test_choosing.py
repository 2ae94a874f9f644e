"""The sample of cases that are explained."""

from __future__ import annotations

from types import SimpleNamespace

from node.learn.case import Case
from node.learn.explained.choosing import chosen
from node.learn.prediction import Prediction

COUNTS = (9, 5, 1)


def _said(masks: frozenset[str] = frozenset()) -> tuple[tuple[Prediction, ...], SimpleNamespace]:
    cases = [
        Case(key=f"{label}/{n}", label=label, masks=("m.png",) if f"{label}/{n}" in masks else ())
        for label, count in enumerate(COUNTS)
        for n in range(count)
    ]
    said = [
        Prediction(key=case.key, group=case.key, part="test", seed=seed, truth=case.label, logits=(0.0, 0.0, 1.0))
        for seed in (1, 0)
        for case in cases
    ]
    return tuple(said), SimpleNamespace(cases=tuple(cases))


def test_the_classes_take_turns_and_the_same_cases_come_again() -> None:
    said, dataset = _said()
    found = chosen(said, dataset, 8)
    assert [each.truth for each in found] == [0, 1, 2, 0, 1, 0, 1, 0]
    assert {each.seed for each in found} == {0}
    assert found == chosen(tuple(reversed(said)), dataset, 8)
    assert found[:3] == chosen(said, dataset, 3)
    assert found != chosen(said, dataset, 8, seed=1)


def test_all_are_taken_where_there_are_fewer_and_none_where_none_are_wanted() -> None:
    said, dataset = _said()
    assert len(chosen(said, dataset, 100)) == len({each.key for each in chosen(said, dataset, 100)}) == sum(COUNTS)
    assert chosen(said, dataset, 0) == chosen((), dataset, 5) == ()


def test_of_each_class_those_with_masks_come_first() -> None:
    said, dataset = _said(frozenset({"0/8", "1/3"}))
    assert [each.key for each in chosen(said, dataset, 2)] == ["0/8", "1/3"]
