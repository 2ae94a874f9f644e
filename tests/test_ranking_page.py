"""`node/RANKING.md` says what the code does."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node.commands.replaying import EVENING, MORNING
from node.config import Settings
from node.domain.finding import Code, Finding
from node.domain.model_card import Mode
from node.domain.priority import Lane
from node.domain.rule import Comparison, Operator, Rule
from node.triage.facts import ModelResult, RankFacts
from node.triage.rank import rank
from node.triage.rules import compile_rules

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "node" / "RANKING.md").read_text()
NIGHT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def test_the_settings_that_the_page_names_are_the_defaults() -> None:
    section = Settings().rank
    assert f"score − {section.points_per_minute:g} · minutes of arrival" in PAGE
    assert f"what findings add, {section.findings_maximum:g} at most" in PAGE
    bound = section.findings_maximum / section.points_per_minute
    assert f"{section.findings_maximum:g} / {section.points_per_minute:g} = {bound:g} minutes" in PAGE
    limits = section.longest_wait_min
    assert f"(STAT {limits.STAT:g}, URGENT {limits.URGENT:g}, ROUTINE {limits.ROUTINE:g})" in PAGE


def test_a_night_is_from_the_evening_to_the_morning_that_the_page_names() -> None:
    assert f"A night ({EVENING:%H:%M} to {MORNING:%H:%M})" in PAGE


def test_the_worked_example_is_what_comes_out() -> None:
    def by(model: str, points: float, lane: Lane | None) -> Rule:
        asked = Comparison(field="finding.present", operator=Operator.IS, value=True, code="SCT:1", model=model)
        return Rule(id=model, title="T", because="B", when=asked, points=points, lane=lane, source="s", version="1")

    rules = compile_rules([by("one", 40, None), *(by(model, 60, Lane.URGENT) for model in ("a", "b", "c"))])
    table = re.findall(r"^\| (\d\d:\d\d) \|(.*)\|(.*)\| (\d+) \| (\d+) \| (\d) \|$", PAGE, re.MULTILINE)
    assert len(table) == 5
    ranked = []
    for number, (arrived, order, said, score, key, read) in enumerate(table):
        models = "abc" if "three" in said else ["one"] if "finding" in said else []
        seen = (Finding(code=Code("1", "SCT", "x"), present=True),)
        facts = RankFacts(
            study_instance_uid=f"1.{9 - number}",
            arrived_at=NIGHT.replace(hour=int(arrived[:2]), minute=int(arrived[3:])),
            hour_of_day=3,
            requested_priority=order.strip(),
            results=tuple(ModelResult(model=model, mode=Mode.LIVE, findings=seen) for model in models),
        )
        ranking = rank(facts, rules, points_per_minute=0.1)
        at_three = rank(replace(facts, results=(), requested_priority="", arrived_at=NIGHT), [], points_per_minute=0.1)
        assert ranking.score == float(score)
        assert ranking.sort_key - at_three.sort_key == pytest.approx(float(key), abs=1e-6)
        ranked.append((ranking.place, int(read)))
    assert [read for _, read in sorted(ranked)] == [1, 2, 3, 4, 5]


def test_what_it_costs_was_measured() -> None:
    table = (ROOT / "benchmarks/results/rank.md").read_text()
    rows = dict(re.findall(r"^\| (.+?) \| ([\d.]+) \| [\d.]+ \|$", table, re.MULTILINE))
    found = {what.rpartition(", ")[0]: float(value) for what, value in rows.items()}
    assert found["rank, facts in memory"] < 3
    assert found["write every place"] < 1
    assert found["one new fact, stored and its study ranked anew"] < 10
    assert found["a rule"] < 1
