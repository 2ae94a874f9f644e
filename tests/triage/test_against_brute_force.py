"""Nights made up from seeds, ranked as an independent scorer ranks them that knows nothing of ours."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from node.catalogue.rules import load_rules_leniently
from node.domain.pin import FINDINGS_MAXIMUM, PIN
from node.domain.rule import ORDER
from node.triage.rank import Ranking, rank
from node.triage.rules import CompiledRule, compile_rules
from tests.triage import brute_force
from tests.triage.random_night import FINDABLE, Night, facts_of, pin_of

#: Reasons that are no rule.
_OWN = {ORDER, PIN, FINDINGS_MAXIMUM}


def compiled(night: Night, folder: Path) -> tuple[CompiledRule, ...]:
    """The rules of the night as the loader takes them; what it refuses is no rule for either side."""
    night.write_rules(folder)
    rules, problems = load_rules_leniently(folder, FINDABLE)
    for problem in problems:
        Path(problem.file).unlink()
    assert len(rules) >= len(night.rules) // 2, [str(each) for each in problems]
    return compile_rules(rules)


def by_product(night: Night, rules: tuple[CompiledRule, ...], points_per_minute: float) -> list[tuple[str, Ranking]]:
    made = [
        (
            raw.uid,
            rank(
                facts_of(raw),
                () if raw.prior else rules,
                points_per_minute=points_per_minute,
                findings_maximum=60.0,
                queued_s=raw.queued_s,
                pin=pin_of(raw),
            ),
        )
        for raw in night.studies
    ]
    return sorted(made, key=lambda each: each[1].place)


@pytest.mark.parametrize("points_per_minute", [0.1, 0.0])
@pytest.mark.parametrize("seed", range(6))
def test_every_study_stands_where_plain_python_puts_it_for_the_same_reasons(
    tmp_path: Path, seed: int, points_per_minute: float
) -> None:
    night = Night(seed, studies=150)
    ours = by_product(night, compiled(night, tmp_path), points_per_minute)
    theirs = brute_force.ranked(
        night.studies,
        brute_force.rules_in(tmp_path),
        findable=FINDABLE,
        points_per_minute=points_per_minute,
        findings_maximum=60.0,
    )
    for (uid, ranking), placed in zip(ours, theirs, strict=True):
        reasons = {each.rule: each.points for each in ranking.reasons if each.rule not in _OWN}
        assert (uid, ranking.lane, ranking.score, reasons) == (placed.uid, placed.lane, placed.score, placed.reasons)


def test_a_night_has_every_kind_of_rule_and_place(tmp_path: Path) -> None:
    """The comparison above says nothing of what never happens in it."""
    nights = [Night(seed, studies=150) for seed in range(6)]
    said, bands, lanes = set(), set(), set()
    for night in nights:
        (folder := tmp_path / str(id(night))).mkdir()
        rules = compiled(night, folder)
        fields = {part.comparison.field for rule in rules for part in rule.parts}
        said |= {name.partition(".")[0] for name in fields}
        for _, ranking in by_product(night, rules, 0.1):
            bands.add(ranking.band)
            lanes.add(ranking.lane)
            said |= {each.rule for each in ranking.reasons if each.rule in _OWN}
            said |= {"a cap" for each in ranking.reasons if "at most)" in each.because}
    assert bands == {-1, 0, 1, 2, 3}
    assert len(lanes) == 3
    assert {"history", "finding", "change", "modality", "a cap", *_OWN} <= said


def test_the_order_in_which_studies_come_up_is_no_matter(tmp_path: Path) -> None:
    night = Night(11, studies=80)
    rules = compiled(night, tmp_path)
    order = [uid for uid, _ in by_product(night, rules, 0.1)]
    random.Random(1).shuffle(night.studies)
    assert [uid for uid, _ in by_product(night, rules, 0.1)] == order
