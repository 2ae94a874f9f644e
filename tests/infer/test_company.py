"""Small studies that wait for one model are answered in one pass; each has its own result, time and failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.domain.priority import Lane
from node.domain.work import OutcomeState
from node.infer.room import InferRoom
from tests.infer.conftest import Site, fake, run_dry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "company"
    made.mkdir()
    return made


def warm(site: Site, folder: Path, *, limit_s: float | None = None) -> InferRoom:
    """A room that knows how long its network takes for one study."""
    room = site.room(fake("company", folder), time_limit_s=limit_s)
    site.waits("1.2.3.999", slices=1)
    run_dry(room)
    (folder / "passes").unlink()
    return room


def passes(folder: Path) -> list[list[int]]:
    return [[int(each) for each in line.split()] for line in (folder / "passes").read_text().splitlines()]


def waiting(site: Site, count: int, **said: object) -> list[int]:
    return [site.waits(f"1.2.3.{number + 1}", slices=1, **said) for number in range(count)]  # type: ignore[arg-type]


def attempts(site: Site) -> dict[int, int]:
    rows = site.db.rows("SELECT subject, attempts FROM work_item WHERE kind = 'infer'")
    return {int(row["subject"]): row["attempts"] for row in rows}


def test_what_waits_for_one_model_is_answered_in_one_pass_and_each_has_its_result(site: Site, folder: Path):
    room = warm(site, folder)
    ids = waiting(site, 12)
    run_dry(room)
    # 0.01 s each: ten in a tenth of a second.
    assert [len(each) for each in passes(folder)] == [10, 2]
    assert sorted(each for told in passes(folder) for each in told) == ids
    assert {site.outcome(each).state for each in ids} == {OutcomeState.RESULT}


@pytest.mark.parametrize("lane", [Lane.STAT, Lane.ROUTINE])
def test_a_stat_study_and_all_where_company_is_off_are_read_alone(site: Site, folder: Path, lane: Lane):
    if lane is Lane.ROUTINE:
        infer = site.settings.infer.model_copy(update={"together": 1})
        site.settings = site.settings.model_copy(update={"infer": infer})
    room = warm(site, folder)
    ids = waiting(site, 3, lane=lane)
    run_dry(room)
    assert sorted(passes(folder)) == [[each] for each in ids]


def test_another_lane_mode_or_model_and_what_has_many_images_stay_out_of_it(site: Site, folder: Path):
    site.other_model()
    room = warm(site, folder)
    together = waiting(site, 3)
    urgent = site.waits("1.2.4.1", slices=1, lane=Lane.URGENT)
    shadow = site.waits("1.2.4.2", slices=1)
    site.db.execute("UPDATE outcome SET mode = 'shadow' WHERE id = ?", (shadow,))
    other = site.waits("1.2.4.3", slices=1, model="other")
    large = site.waits("1.2.4.4", slices=2)
    run_dry(room)
    assert sorted(map(sorted, passes(folder))) == sorted([together, [urgent], [shadow], [other], [large]])


@pytest.mark.parametrize("how", ["segfault", "hang", "killed", "garbage"])
def test_one_that_poisons_the_pass_costs_the_others_no_result_and_no_attempt(site: Site, folder: Path, how: str):
    room = warm(site, folder, limit_s=1.0 if how == "hang" else None)
    ids = waiting(site, 4)
    (folder / str(ids[2])).write_text(how)
    run_dry(room)
    for _ in range(3):
        site.step(room)
    first, *alone = passes(folder)
    assert sorted(first) == ids
    # Whose fault it was is known only then: three deaths of its own, each alone.
    assert sorted(alone) == sorted([[ids[0]], [ids[1]], [ids[3]], *[[ids[2]]] * 3])
    healthy = [each for each in ids if each != ids[2]]
    assert {site.outcome(each).state for each in healthy} == {OutcomeState.RESULT}
    assert site.outcome(ids[2]).state is OutcomeState.FAILED
    assert "(3 attempts)" in site.outcome(ids[2]).reason
    assert {attempts(site)[each] for each in healthy} == {1}


def test_asked_to_stop_the_room_gives_all_of_them_back(site: Site, folder: Path):
    room = warm(site, folder)
    ids = waiting(site, 3)
    (folder / str(ids[0])).write_text("hang")
    while not (folder / "passes").exists():
        room.step()
    room.drain(lambda: None, grace_s=0.0)
    assert {site.item_state(each) for each in ids} == {"ready"}
    assert {attempts(site)[each] for each in ids} == {0}
