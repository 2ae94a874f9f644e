from __future__ import annotations

from pathlib import Path

import pytest

from node.catalogue.scenario_file import read_scenario, scenario_text
from node.domain.priority import Lane
from node.domain.rule import Comparison, Operator, Rule
from node.domain.scenario import Spread
from node.errors import Failed
from node.store.database import Database
from node.triage.rules import compile_rules
from node.workflow.observed import observed_scenario
from node.workflow.policy import Policy
from tests.fakes import FakeClock, model, policy
from tests.workflow.nights import night

RULE = Rule(
    id="found", title="t", because="b", points=35.0, lane=Lane.URGENT, source="s", version="1",
    when=Comparison(field="finding.present", operator=Operator.IS, value=True, code="SCT:12738006"),
)  # fmt: skip


def test_a_node_that_saw_nothing_has_no_scenario(db: Database, clock: FakeClock) -> None:
    with pytest.raises(Failed, match="no study came in the last 28 days"):
        observed_scenario(db, clock.now(), policy(), 28)


def test_what_the_node_saw_is_the_scenario(db: Database, clock: FakeClock, tmp_path: Path) -> None:
    made = night(db, clock)
    for number in range(32):
        uid = made.study(
            requested_priority="STAT" if number % 8 == 0 else "", found=None if number == 1 else number < 9
        )
        made.report(uid, reading_min=6 + number % 3)
    used = Policy(made.policy.settings, (model(),), compile_rules([RULE]))
    scenario, notes = observed_scenario(db, clock.now(), used, 28)
    (kind,) = scenario.kinds
    assert (kind.name, kind.stat, kind.urgent) == ("MR", 4 / 32, 0)
    assert kind.reading.mean_min == pytest.approx(7, abs=0.1)
    assert kind.reading.spread is Spread.LOGNORMAL
    (told,), (disease,) = scenario.models, scenario.diseases
    assert (told.name, told.lane, told.points_if_flagged, told.points) == ("brain", Lane.URGENT, 35.0, 0.0)
    assert told.time.mean_min == pytest.approx(1.0, abs=0.01)
    assert told.failure_rate == pytest.approx(1 / 32)
    # Eight of 31 flagged: by a sensitivity and specificity of 0.9 a prevalence of (0.258 - 0.1) / 0.8.
    assert disease.prevalence == pytest.approx((8 / 31 - 0.1) / 0.8)
    assert disease.kinds == ("MR",)
    assert scenario.traffic < 0.86
    assert scenario.disciplines[0].points_per_minute == used.settings.rank.points_per_minute
    assert any("sensitivity 0.9" in note for note in notes)
    assert any("nobody told how many read" in note for note in notes)
    file = tmp_path / "scenario.toml"
    file.write_text(scenario_text(scenario, notes))
    assert read_scenario(file) == scenario


def test_what_was_not_told_is_named_as_a_guess(db: Database, clock: FakeClock) -> None:
    made = night(db, clock)
    made.study(found=True)
    scenario, notes = observed_scenario(db, clock.now(), made.policy, 7)
    assert scenario.kinds[0].reading.mean_min == 15.0
    assert any("15 minutes to read MR are a guess; 0 readings were told" in note for note in notes)
    assert any("no rule asks brain" in note for note in notes)
    assert scenario.models[0].points == 50.0


def test_what_came_before_the_days_asked_for_counts_not(db: Database, clock: FakeClock) -> None:
    made = night(db, clock)
    made.study()
    clock.forward(10 * 86_400)
    with pytest.raises(Failed):
        observed_scenario(db, clock.now(), made.policy, 7)
    made.study()
    assert observed_scenario(db, clock.now(), made.policy, 7)[0].title.endswith("1 studies")
