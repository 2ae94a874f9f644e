"""Of volumes that share a series, only the one that is read is an input of the outcome."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock

from node.domain.model_card import Condition, Role
from node.store import instances, outcomes
from node.store.database import Database
from node.workflow.assignment import content_digest
from node.workflow.closing import close_due
from tests.fakes import SERIES, STUDY, FakeClock, arrive, card, model, policy, slice_of

OTHER = "1.2.3.1.2"


def test_the_other_echo_of_the_series_is_no_input(db: Database, clock: FakeClock) -> None:
    early = replace(model(), card=card(requires=(Condition(field="echo_time_ms", at_most=10.0),)))
    for number in range(1, 6):
        arrive(db, clock.now(), slice_of(number, echo_time_ms=3.0))
        late = slice_of(number, echo_time_ms=80.0, instance_number=number + 100)
        arrive(db, clock.now(), replace(late, sop_instance_uid=f"{late.sop_instance_uid}.2", content_digest="late"))
    assert close_due(db, clock.forward(601), policy(early)) == 1
    [outcome] = outcomes.current(db, STUDY)
    inputs = instances.with_ids(db, outcomes.inputs(db, outcome.id))
    assert len(inputs) == 5
    assert {each.instance.echo_time_ms for each in inputs if each.instance} == {3.0}
    assert "of 2 volumes that with echo time 3" in str(outcome.series)


def test_of_a_model_that_reads_several_series_all_are_inputs_in_their_roles(db: Database, clock: FakeClock) -> None:
    roles = (Role(name="one", requires=(Condition(field="series_description", matches="^T1"),)), Role(name="two"))
    several = replace(model(), card=card(roles=roles))
    for number in range(1, 6):
        arrive(db, clock.now(), slice_of(number))
        arrive(db, clock.now(), slice_of(number, series=OTHER, series_description="T2"))
    assert close_due(db, clock.forward(601), policy(several)) == 1
    [outcome] = outcomes.current(db, STUDY)
    assert outcome.series_instance_uid == SERIES
    assert outcome.roles == {SERIES: "one", OTHER: "two"}
    assert len(outcomes.inputs(db, outcome.id)) == 10


def test_the_same_series_in_other_roles_are_another_input() -> None:
    held = [Mock(sop_instance_uid=f"{uid}.1", content_digest="x", series_instance_uid=uid) for uid in (SERIES, OTHER)]
    one, other = {SERIES: "one", OTHER: "two"}, {SERIES: "two", OTHER: "one"}
    assert content_digest(held, one) == content_digest(held[::-1], one)
    assert len({content_digest(held, roles) for roles in (one, other, {})}) == 3
