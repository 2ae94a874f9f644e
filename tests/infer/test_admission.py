from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.config import InferSettings
from node.infer.admission import Residence, Resident, to_unload
from tests.infer.conftest import Site, fake

GIB = 1 << 30
residents = st.lists(st.builds(Resident, st.uuids().map(str), st.integers(1, 100), st.floats(0, 1e6)), max_size=8)


@given(residents, st.integers(1, 200), st.integers(1, 200))
def test_what_stays_fits_the_budget_with_the_new_one_and_is_the_most_recently_used(
    held: list[Resident], needed: int, budget: int
):
    leaving = set(to_unload(held, needed, budget))
    stay = [each for each in held if each.model_digest not in leaving]
    assert not stay or sum(each.resident_bytes for each in stay) + needed <= budget
    gone = [each for each in held if each.model_digest in leaving]
    assert max((each.last_used_s for each in gone), default=-1) <= min((each.last_used_s for each in stay), default=1e9)


@given(residents, st.integers(1, 200))
def test_nothing_leaves_while_there_is_room(held: list[Resident], needed: int):
    assert to_unload(held, needed, sum(each.resident_bytes for each in held) + needed) == []


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
    models = [replace(site.model, model_digest=digest, card=replace(site.model.card, name=digest)) for digest in "ab"]
    try:
        assert residence.preload(models, lambda: None) == ["a on cpu", "b loads when it is needed"]
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
        residence.dismiss(site.model)
    assert not child.alive
