"""What is more urgent goes first, at once, and costs what it overtakes neither time nor an attempt."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from node.domain.priority import Lane
from node.domain.work import OutcomeState
from node.infer.room import InferRoom
from node.infer.turn import Turn
from tests.infer.conftest import Site, begun, fake, run_dry

ROUTINE, URGENT, STAT = "1.2.3.1", "1.2.3.2", "1.2.3.3"
#: Steps of a room; each waits for some milliseconds. A condition that does not come within so many never will.
MANY = 2000


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """The folder by which the patient child is told to let a study go."""
    folder = tmp_path / "hold"
    folder.mkdir()
    return folder


def let_go(hold: Path, outcome_id: int, what: str = "done") -> None:
    half = hold / f"{outcome_id}.half"
    half.write_text(what)
    half.rename(hold / str(outcome_id))


def step_until(room: InferRoom, condition: Callable[[], bool]) -> None:
    for _ in range(MANY):
        if condition():
            return
        room.step()
    pytest.fail("it never came to that")


def computing(room: InferRoom) -> list[str]:
    """Studies whose time runs, whichever process has them."""
    return [turn.item.study_instance_uid for turn in room._stack.turns if turn.runs]


def state(site: Site, outcome_id: int) -> OutcomeState:
    return site.outcome(outcome_id).state


def attempts(site: Site, outcome_id: int) -> int:
    row = site.db.row("SELECT attempts FROM work_item WHERE kind = 'infer' AND subject = ?", (str(outcome_id),))
    assert row is not None
    return int(row["attempts"])


def overtaken(site: Site, room: InferRoom, *, model: str) -> tuple[int, int]:
    """A routine study that a STAT one, for `model`, has overtaken: both begun, and only the STAT one's time runs."""
    routine = site.waits(ROUTINE)
    begun(room)
    stat = site.waits(STAT, model=model, lane=Lane.STAT)
    room._look_again()
    step_until(room, lambda: computing(room) == [STAT])
    return routine, stat


@pytest.mark.parametrize("model", ["tiny", "other"])
def test_a_stat_study_is_read_while_a_routine_one_stands_back_for_it(site: Site, hold: Path, model: str):
    site.other_model()
    room = site.room(fake("patient", hold))
    routine, stat = overtaken(site, room, model=model)
    assert [child.model.card.name for child in room._residence.children] == list(dict.fromkeys(["tiny", model]))
    let_go(hold, routine)  # it would be through, were it not held back
    let_go(hold, stat)
    step_until(room, lambda: state(site, stat) is OutcomeState.RESULT)
    if model == "other":
        assert state(site, routine) is OutcomeState.RUNNING
    run_dry(room)
    assert state(site, routine) is OutcomeState.RESULT
    assert attempts(site, routine) == 1
    assert [row["subject"] for row in site.db.rows(FINISHED)] == [str(stat), str(routine)]


FINISHED = (
    "SELECT substr(subject, instr(subject, ':') + 1) AS subject FROM event"
    " WHERE about = 'outcome' AND after = 'result' ORDER BY id"
)


def test_three_lanes_stand_over_each_other_in_two_processes(site: Site, hold: Path):
    site.other_model()
    room = site.room(fake("patient", hold))
    routine = site.waits(ROUTINE)
    begun(room)
    urgent = site.waits(URGENT, model="other", lane=Lane.URGENT)
    room._look_again()
    step_until(room, lambda: computing(room) == [URGENT])
    stat = site.waits(STAT, lane=Lane.STAT)
    room._look_again()
    step_until(room, lambda: computing(room) == [STAT])
    for each in (routine, urgent, stat):
        let_go(hold, each)
    run_dry(room)
    assert [row["subject"] for row in site.db.rows(FINISHED)] == [str(each) for each in (stat, urgent, routine)]
    assert not room._stack._paused


@pytest.mark.parametrize(("first", "second"), [(Lane.ROUTINE, Lane.ROUTINE), (Lane.STAT, Lane.URGENT)])
def test_what_is_not_more_urgent_waits(site: Site, hold: Path, first: Lane, second: Lane):
    room = site.room(fake("patient", hold))
    one = site.waits(ROUTINE, lane=first)
    begun(room)
    two = site.waits(URGENT, lane=second)
    room._look_again()
    step_until(room, lambda: room._ahead is not None)
    assert computing(room) == [ROUTINE]
    for each in (two, one):
        let_go(hold, each)
    run_dry(room)
    assert [row["subject"] for row in site.db.rows(FINISHED)] == [str(one), str(two)]


def test_a_study_that_waits_ahead_overtakes_once_a_person_makes_it_stat(site: Site, hold: Path):
    room = site.room(fake("patient", hold))
    one = site.waits(ROUTINE)
    begun(room)
    two = site.waits(URGENT)
    room._look_again()
    step_until(room, lambda: room._ahead is not None)
    with site.db.transaction():
        site.db.execute("UPDATE study SET lane = 'STAT', lane_order = 0 WHERE study_instance_uid = ?", (URGENT,))
    room._look_again()
    step_until(room, lambda: computing(room) == [URGENT])
    for each in (two, one):
        let_go(hold, each)
    run_dry(room)
    assert [row["subject"] for row in site.db.rows(FINISHED)] == [str(two), str(one)]


@pytest.mark.parametrize("model", ["tiny", "other"])
def test_asked_to_stop_while_one_stands_back_the_room_gives_both_back(site: Site, hold: Path, model: str):
    site.other_model()
    room = site.room(fake("patient", hold))
    both = overtaken(site, room, model=model)
    children = room._residence.children
    room.drain(lambda: None, grace_s=0.0)
    assert [(state(site, each), site.item_state(each), attempts(site, each)) for each in both] == [
        (OutcomeState.PENDING, "ready", 0)
    ] * 2
    assert not any(child.alive for child in children)


def test_a_stat_study_that_crashes_costs_the_study_it_overtook_no_attempt(site: Site, hold: Path):
    room = site.room(fake("patient", hold))
    routine, stat = overtaken(site, room, model="tiny")
    let_go(hold, stat, "segfault")
    step_until(room, lambda: state(site, stat) is OutcomeState.PENDING)
    assert (attempts(site, stat), site.item_state(stat)) == (1, "ready")
    let_go(hold, routine)
    run_dry(room)
    assert (state(site, routine), attempts(site, routine)) == (OutcomeState.RESULT, 1)
    for _ in range(2):
        site.step(room)
    assert site.outcome(stat).reason == "the model process was killed by SIGSEGV (3 attempts)"


def test_a_process_that_is_killed_while_it_stands_back_costs_its_study_no_attempt(site: Site, hold: Path):
    site.other_model()
    room = site.room(fake("patient", hold))
    routine, stat = overtaken(site, room, model="other")
    waiting = next(child for child in room._residence.children if child.model.card.name == "tiny")
    os.kill(waiting._process.pid, signal.SIGKILL)
    step_until(room, lambda: state(site, routine) is OutcomeState.PENDING or attempts(site, routine) == 0)
    assert computing(room) == [STAT]
    for each in (routine, stat):
        let_go(hold, each)
    run_dry(room)
    assert [(state(site, each), attempts(site, each)) for each in (routine, stat)] == [(OutcomeState.RESULT, 1)] * 2


def test_a_model_that_does_not_fit_beside_the_one_it_overtakes_takes_its_place(site: Site, hold: Path):
    site.other_model()
    site.settings = site.settings.model_copy(
        update={"infer": site.settings.infer.model_copy(update={"resident_bytes": 1 << 30})}
    )
    room = site.room(fake("patient", hold))
    routine, stat = overtaken(site, room, model="other")
    assert [child.model.card.name for child in room._residence.children] == ["other"]
    for each in (routine, stat):
        let_go(hold, each)
    run_dry(room)
    assert [(state(site, each), attempts(site, each)) for each in (routine, stat)] == [(OutcomeState.RESULT, 1)] * 2


def test_the_time_of_a_study_stands_still_while_another_has_its_place(site: Site, hold: Path):
    room = site.room(fake("patient", hold), time_limit_s=60.0)
    site.waits(ROUTINE)
    begun(room)
    turn = room._stack.top
    assert isinstance(turn, Turn)
    turn.stand_still(0.0)
    turn._spent_s = 0.0
    turn.run(100.0)
    turn.stand_still(150.0)
    assert not turn.is_late(1e9)
    turn.run(1000.0)
    assert (turn.is_late(1009.0), turn.is_late(1011.0)) == (False, True)


def test_a_study_whose_process_was_killed_for_memory_is_read_with_less(site: Site):
    outcome_id = site.waits(ROUTINE)
    room = site.room(fake("hungry"))
    site.step(room)
    assert site.item_state(outcome_id) == "ready"
    site.step(room)
    assert (state(site, outcome_id), attempts(site, outcome_id)) == (OutcomeState.RESULT, 2)
    (child,) = room._residence.children
    assert child.frugal
    other = site.waits(URGENT)
    site.clock.forward(10)
    step_until(room, lambda: other in [int(turn.job.id) for turn in room._stack.turns])
    assert not any(child.frugal for child in room._residence.children)
    run_dry(room)
