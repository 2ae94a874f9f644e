"""Of volumes that share a series, only the one that is read is an input of the outcome."""

from __future__ import annotations

from dataclasses import replace

from node.domain.model_card import Condition
from node.store import instances, outcomes
from node.store.database import Database
from node.workflow.closing import close_due
from tests.fakes import STUDY, FakeClock, arrive, card, model, policy, slice_of


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
