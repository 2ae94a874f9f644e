from __future__ import annotations

import os
import select
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.catalogue import Model
from node.config import InferSettings
from node.infer.admission import Memory, Residence, Resident, to_unload
from tests.infer.conftest import Site, fake

GIB = 1 << 30
memories = st.builds(Memory, st.integers(1, 100), st.integers(0, 100))
residents = st.lists(st.builds(Resident, st.uuids().map(str), memories, st.floats(0, 1e6), st.booleans()), max_size=8)


@given(residents, memories, memories)
def test_what_stays_fits_both_budgets_with_the_new_one_and_is_at_work_or_the_most_recently_used(
    held: list[Resident], needed: Memory, budget: Memory
):
    leaving = set(to_unload(held, needed, budget))
    stay = [each for each in held if each.model_digest not in leaving]
    assert not stay or sum((each.memory for each in stay), needed).within(budget)
    gone = [(each.at_work, each.last_used_s) for each in held if each.model_digest in leaving]
    assert max(gone, default=(False, -1.0)) <= min(
        ((each.at_work, each.last_used_s) for each in stay), default=(True, 1e9)
    )


@given(residents, memories)
def test_nothing_leaves_while_there_is_room(held: list[Resident], needed: Memory):
    assert to_unload(held, needed, sum((each.memory for each in held), needed)) == []


def test_the_model_unused_for_longest_makes_room(site: Site):
    residence = Residence(InferSettings(resident_bytes=8 * GIB), fake("large", 3 * GIB))
    one, two, three = (replace(site.model, model_digest=digest) for digest in ("1", "2", "3"))
    try:
        for model in (one, two):
            residence.child(model).wait_until_ready(lambda: None)
        second = residence.child(two)
        residence.child(one)
        residence.child(three).wait_until_ready(lambda: None)
        residence.child(three)  # now it is known how much it takes
        assert not second.alive
        assert residence.child(one).resident_bytes == 3 * GIB
    finally:
        residence.end()


def test_preloading_stops_at_the_budget(site: Site):
    residence = Residence(InferSettings(resident_bytes=4 * GIB), fake("large", 7 * GIB // 2))
    try:
        assert _loaded(residence, _named(site.model, "a", "b")) == ["a on cpu", "b loads when it is needed"]
    finally:
        residence.end()


def _loaded(residence: Residence, models: list[Model]) -> list[str]:
    residence.want(models)
    residence.load()
    while residence.loads:
        for child in residence.children:
            deque(child.heard(), maxlen=0)
        residence.load()
        select.select([child.readable for child in residence.children], [], [], 0.05)
    return [residence.told(model) for model in models]


def _named(model: Model, *names: str) -> list[Model]:
    return [replace(model, model_digest=name, card=replace(model.card, name=name)) for name in names]


def test_a_model_whose_files_are_gone_keeps_no_other_from_being_loaded(site: Site, tmp_path: Path):
    gone, present = _named(site.model, "gone", "present")
    gone = replace(gone, weights={"coarse": tmp_path / "gone.ts"})
    residence = Residence(InferSettings(), fake("fine"))
    try:
        assert _loaded(residence, [gone, present])[1] == "present on cpu"
    finally:
        residence.end()


def test_models_are_loaded_beside_each_other_a_core_each(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    residence = Residence(InferSettings(), fake("deaf"))
    try:
        residence.want(_named(site.model, "a", "b", "c"))
        residence.load()
        assert [child.model.card.name for child in residence.children] == ["a", "b"]
        residence.dismiss(residence.children[0])
        residence.load()
        assert [child.model.card.name for child in residence.children] == ["b", "c"]
        assert residence.loads
    finally:
        for child in residence.children:
            residence.dismiss(child)


def test_what_was_loaded_for_nobody_makes_room_and_what_a_study_asked_for_stays(site: Site):
    residence = Residence(InferSettings(resident_bytes=8 * GIB), fake("large", 3 * GIB))
    a, b, c = _named(site.model, "a", "b", "c")
    try:
        residence.want([a, b])
        residence.load()
        residence.child(b)
        residence.child(c)
        for child in residence.children:
            child.wait_until_ready(lambda: None)
        residence.load()
        assert [child.model.card.name for child in residence.children] == ["b", "c"]
    finally:
        residence.end()


def test_a_process_that_died_idle_is_replaced_before_it_is_asked(site: Site):
    residence = Residence(InferSettings(), fake("fine"))
    try:
        first = residence.child(site.model)
        first.wait_until_ready(lambda: None)
        first.kill()
        second = residence.child(site.model)
        assert second is not first
        second.wait_until_ready(lambda: None)
        assert residence.child(site.model) is second
    finally:
        residence.end()


@pytest.mark.parametrize("ended", ["end", "dismiss"])
def test_no_process_is_left(site: Site, ended: str):
    residence = Residence(InferSettings(), fake("hang"))
    child = residence.child(site.model)
    if ended == "end":
        residence.end()
    else:
        residence.dismiss(child)
    assert not child.alive
