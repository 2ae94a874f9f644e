"""Rules that change while the node runs: read anew, broken ones held back, everything that waits ranked by them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.config import Settings
from node.store import events, kept_rules, reading_list, studies
from node.store.database import Database
from node.workflow.closing import close_due
from node.workflow.policy import LOOK_S, Policies, Policy, load_policy
from node.workflow.ranking import rerank
from node.workflow.rule_folder import RuleFolder
from node.workflow.ruling import ABOUT, Ruling
from node.workflow.standing import rules as standing_of_rules
from tests import fakes
from tests.fakes import STUDY, FakeClock
from tests.workflow.test_closing import QUIET_S

RULE = """
title = "Head"
because = "It is {modality}"
version = "1"
source = "Nobody 2026"
when = { field = "modality", op = "is", value = "MR" }
then = { points = 10 }
"""
BROKEN = RULE.replace("points = 10", "points = 1000")


class Ticking:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Place:
    settings: Settings
    rules: Path
    ticking: Ticking

    def write(self, name: str, text: str) -> None:
        (self.rules / name).write_text(text)
        self.ticking.now_s += LOOK_S

    def policies(self) -> Policies:
        return Policies(self.settings, monotonic=self.ticking)


def place_in(folder: Path) -> Place:
    made = fakes.policy().settings
    for name in ("models", "rules", "var"):
        (folder / name).mkdir(exist_ok=True)
    catalogue = made.catalogue.model_copy(update={"models_folder": folder / "models", "rules_folder": folder / "rules"})
    data = made.data.model_copy(update={"folder": folder / "var"})
    return Place(made.model_copy(update={"catalogue": catalogue, "data": data}), folder / "rules", Ticking())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_in(tmp_path)


def points(policy: Policy) -> dict[str, float]:
    return {each.rule.id: each.rule.points for each in policy.rules}


def test_a_file_that_is_added_changed_or_taken_away_takes_effect(place: Place) -> None:
    policies = place.policies()
    assert points(policies.current()) == {}
    place.write("head.toml", RULE)
    assert points(policies.current()) == {"head": 10.0}
    place.write("head.toml", RULE.replace("points = 10", "points = 20"))
    assert points(policies.current()) == {"head": 20.0}
    (place.rules / "head.toml").unlink()
    place.ticking.now_s += LOOK_S
    assert points(policies.current()) == {}


def test_the_folder_is_looked_at_every_now_and_then_alone(place: Place) -> None:
    policies = place.policies()
    policies.current()
    place.write("head.toml", RULE)
    place.ticking.now_s -= 0.1
    assert points(policies.current()) == {}
    place.ticking.now_s += 0.1
    assert points(policies.current()) == {"head": 10.0}


def test_nothing_new_is_the_same_policy(place: Place) -> None:
    place.write("head.toml", RULE)
    policies = place.policies()
    first = policies.current()
    place.ticking.now_s += LOOK_S
    assert policies.current() is first
    assert policies.renew(first) is first
    os.utime(place.rules / "head.toml", ns=(1, 1))
    place.ticking.now_s += LOOK_S
    assert policies.current().rules_digest == first.rules_digest


def test_a_broken_file_leaves_its_last_good_version_in_force_and_is_named(place: Place) -> None:
    place.write("head.toml", RULE)
    policies = place.policies()
    before = policies.current()
    place.write("head.toml", BROKEN)
    place.write("other.toml", RULE)
    after = policies.current()
    assert points(after) == {"head": 10.0, "other": 10.0}
    (problem,) = after.problems
    assert "head.toml" in problem
    assert "then.points" in problem
    assert "last good version" in problem
    assert before.problems == ()
    place.write("head.toml", RULE.replace("points = 10", "points = 11"))
    assert (points(policies.current())["head"], policies.current().problems) == (11.0, ())


def test_a_room_that_starts_while_a_file_is_broken_has_the_version_that_was_kept(place: Place) -> None:
    place.write("head.toml", RULE)
    keeper = place.policies()
    running = keeper.current()
    keeper.keep()
    place.write("head.toml", BROKEN)
    started = load_policy(place.settings)
    assert points(started) == {"head": 10.0}
    assert started.rules_digest == running.rules_digest
    assert "head.toml" in started.problems[0]
    (place.rules / "head.toml").unlink()
    place.ticking.now_s += LOOK_S
    keeper.current()
    keeper.keep()
    place.write("head.toml", BROKEN)
    assert points(load_policy(place.settings)) == {}, "what was taken away does not come back"


def test_what_was_kept_and_no_longer_loads_is_not_in_force(place: Place) -> None:
    kept_rules.keep(place.settings.data.folder, "head.toml", b"\xff\xfe no text")
    place.write("head.toml", BROKEN)
    assert points(load_policy(place.settings)) == {}


def test_a_folder_that_is_away_for_a_moment_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write("head.toml", RULE)
    policies = place.policies()
    policies.current()

    def gone(folder: Path) -> list[Path]:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as away:
        away.setattr("node.workflow.rule_folder.rule_files", gone)
        place.ticking.now_s += LOOK_S
        current = policies.current()
    assert points(current) == {"head": 10.0}
    assert "cannot be read" in current.problems[0]
    place.ticking.now_s += LOOK_S
    assert policies.current().problems == ()


def test_problems_of_models_stay_beside_those_of_rules(place: Place) -> None:
    (place.settings.catalogue.models_folder / "empty").mkdir()
    policies = place.policies()
    (model_problem,) = policies.current().problems
    place.write("head.toml", BROKEN)
    assert policies.current().problems[0] == model_problem
    assert len(policies.current().rule_problems) == 1


_WRITTEN = st.lists(
    st.tuples(st.sampled_from(["a.toml", "b.toml"]), st.sampled_from(["", "1", "2", "3"])), min_size=1, max_size=8
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_WRITTEN)
def test_reloading_is_the_same_as_a_restart(tmp_path_factory: pytest.TempPathFactory, written) -> None:
    place = place_in(tmp_path_factory.mktemp("reload"))
    policies = place.policies()
    for name, worth in written:
        if worth:
            place.write(name, RULE.replace("points = 10", f"points = {worth}"))
        else:
            (place.rules / name).unlink(missing_ok=True)
            place.ticking.now_s += LOOK_S
        reloaded, restarted = policies.current(), load_policy(place.settings)
        assert points(reloaded) == points(restarted)
        assert reloaded.rules_digest == restarted.rules_digest


# ------------------------------------------------------------------------------------------ everything ranked by them


def wait_for_a_reader(db: Database, clock: FakeClock) -> None:
    """One study that is complete and unread."""
    fakes.arrive(db, clock.now(), fakes.slice_of(1))
    assert close_due(db, clock.forward(QUIET_S), fakes.policy()) == 1


def score(db: Database) -> float:
    study = studies.study(db, STUDY)
    assert study is not None
    return study.score


def test_new_rules_rank_everything_that_waits_and_once_more_when_all_rooms_have_them(
    db: Database, clock: FakeClock, place: Place
) -> None:
    policies, ruling = place.policies(), Ruling()
    wait_for_a_reader(db, clock)
    assert ruling.follow(db, clock.now(), policies) is not None
    assert score(db) == 0.0
    place.write("head.toml", RULE)
    assert ruling.follow(db, clock.now(), policies) == 1
    assert score(db) == 10.0
    digest = policies.current().rules_digest
    assert digest[:12] in next(each.subject for each in events.of_study(db, STUDY) if each.about == "rank")
    # A room that has not looked yet ranks by the rules from before.
    with db.transaction():
        rerank(db, clock.now(), Policy(place.settings, (), ()), STUDY)
    assert score(db) == 0.0
    assert ruling.follow(db, clock.now(), policies) is None
    clock.forward(61)
    assert ruling.follow(db, clock.now(), policies) == 1
    assert score(db) == 10.0
    clock.forward(61)
    assert ruling.follow(db, clock.now(), policies) is None


def test_a_restart_ranks_anew_only_where_the_rules_are_others(db: Database, clock: FakeClock, place: Place) -> None:
    place.write("head.toml", RULE)
    wait_for_a_reader(db, clock)
    ruling, policies = Ruling(), place.policies()
    ruling.follow(db, clock.now(), policies)
    clock.forward(61)
    ruling.follow(db, clock.now(), policies)
    assert [each.after for each in events.latest(db, ABOUT)] == ["settled", "in force"]
    assert Ruling().follow(db, clock.now(), place.policies()) is None
    place.write("head.toml", RULE.replace("points = 10", "points = 12"))
    assert Ruling().follow(db, clock.now(), place.policies()) == 1
    assert score(db) == 12.0


def test_a_restart_before_everything_was_ranked_in_all_rooms_ranks_anew(
    db: Database, clock: FakeClock, place: Place
) -> None:
    place.write("head.toml", RULE)
    wait_for_a_reader(db, clock)
    policies = place.policies()
    Ruling().follow(db, clock.now(), policies)
    with db.transaction():
        rerank(db, clock.now(), Policy(place.settings, (), ()), STUDY)
    assert Ruling().follow(db, clock.now(), place.policies()) == 1
    assert score(db) == 10.0


def test_what_is_broken_is_noted_and_shown_until_it_is_mended(db: Database, clock: FakeClock, place: Place) -> None:
    place.write("head.toml", RULE)
    ruling, policies = Ruling(), place.policies()
    ruling.follow(db, clock.now(), policies)
    assert standing_of_rules(db)["broken"] == ""
    place.write("head.toml", BROKEN)
    ruling.follow(db, clock.now(), policies)
    shown = standing_of_rules(db)
    assert "head.toml" in shown["broken"]
    assert shown["digest"] == policies.current().rules_digest
    place.write("head.toml", RULE)
    ruling.follow(db, clock.now(), policies)
    assert standing_of_rules(db)["broken"] == ""


def test_the_folder_costs_a_look_and_no_more_where_nothing_changed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write("head.toml", RULE)
    folder = RuleFolder(place.rules, place.settings.data.folder, frozenset())
    monkeypatch.setattr("node.workflow.rule_folder.read_rule", lambda *_: pytest.fail("it was read again"))
    assert folder.look() is False


def test_what_a_radiologist_has_reported_stays_where_it_was(db: Database, clock: FakeClock, place: Place) -> None:
    from node.domain.report_state import ReportState

    wait_for_a_reader(db, clock)
    with db.transaction():
        reading_list.record_report_state(db, clock.now(), STUDY, ReportState.FINAL, told_by="RIS")
    place.write("head.toml", RULE)
    assert Ruling().follow(db, clock.now(), place.policies()) == 0
    assert score(db) == 0.0
