"""What nobody waits for is read by night, gives way to whatever somebody waits for, and is never read ahead of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.config import Settings
from node.domain.priority import Lane
from node.domain.retrieval import Purpose
from node.domain.work import OutcomeState, WorkHours, WorkKind
from node.store import retrievals, studies, work_items
from tests.infer.conftest import Site, begun, fake, run_dry
from tests.infer.test_overtaking import FINISHED, computing, let_go, state, step_until

SPARE, LIVE = "1.2.3.1", "1.2.3.2"
#: From the clock's 03:04 UTC to noon, and on to midnight.
TO_NOON_S, TO_MIDNIGHT_S = 9 * 3600, 12 * 3600


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"night": settings.night.model_copy(update={"timezone": "UTC"})})


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """The folder by which the patient child is told to let a study go."""
    folder = tmp_path / "hold"
    folder.mkdir()
    return folder


def put_off(site: Site, study: str, hours: WorkHours = WorkHours.NIGHT, *, lane: Lane = Lane.ROUTINE) -> int:
    outcome_id = site.waits(study, lane=lane)
    with site.db.transaction():
        work_items.put_off(site.db, WorkKind.INFER, outcome_id, hours)
    return outcome_id


def finished(site: Site) -> list[str]:
    return [row["subject"] for row in site.db.rows(FINISHED)]


def test_work_for_the_night_is_not_begun_by_day(site: Site, hold: Path) -> None:
    site.clock.forward(TO_NOON_S)
    room = site.room(fake("patient", hold))
    spare = put_off(site, SPARE)
    let_go(hold, spare)
    assert not run_dry(room)
    assert state(site, spare) is OutcomeState.PENDING
    site.clock.forward(TO_MIDNIGHT_S)
    room._look_again()
    run_dry(room)
    assert state(site, spare) is OutcomeState.RESULT


def test_work_for_spare_time_is_begun_by_day_when_nothing_else_waits(site: Site, hold: Path) -> None:
    site.clock.forward(TO_NOON_S)
    room = site.room(fake("patient", hold))
    spare = put_off(site, SPARE, WorkHours.SPARE)
    let_go(hold, spare)
    run_dry(room)
    assert state(site, spare) is OutcomeState.RESULT


@pytest.mark.parametrize("lane", [Lane.ROUTINE, Lane.STAT])
def test_whatever_somebody_waits_for_comes_first_though_its_lane_is_lower(
    site: Site,
    hold: Path,
    lane: Lane,
) -> None:
    room = site.room(fake("patient", hold))
    spare = put_off(site, SPARE, lane=lane)
    live = site.waits(LIVE)
    for each in (spare, live):
        let_go(hold, each)
    run_dry(room)
    assert finished(site) == [str(live), str(spare)]


def test_a_routine_study_overtakes_night_work_that_is_under_way(site: Site, hold: Path) -> None:
    room = site.room(fake("patient", hold))
    spare = put_off(site, SPARE)
    begun(room)
    live = site.waits(LIVE)
    room._look_again()
    step_until(room, lambda: computing(room) == [LIVE])
    for each in (spare, live):
        let_go(hold, each)
    run_dry(room)
    assert finished(site) == [str(live), str(spare)]


def test_nothing_for_the_night_is_read_ahead_beside_a_study_that_is_awaited(site: Site, hold: Path) -> None:
    room = site.room(fake("patient", hold))
    live = site.waits(LIVE)
    begun(room)
    spare = put_off(site, SPARE)
    room._look_again()
    for _ in range(5):
        room.step()
    assert room._ahead is None
    assert work_items.open_subjects(site.db, WorkKind.INFER, limit=9) == [str(live), str(spare)]
    for each in (live, spare):
        let_go(hold, each)
    run_dry(room)
    assert finished(site) == [str(live), str(spare)]


def test_what_was_begun_by_night_ends_by_day_and_gives_way_all_the_same(site: Site, hold: Path) -> None:
    room = site.room(fake("patient", hold))
    spare = put_off(site, SPARE)
    begun(room)
    site.clock.forward(TO_NOON_S)
    live = site.waits(LIVE)
    room._look_again()
    step_until(room, lambda: computing(room) == [LIVE])
    for each in (spare, live):
        let_go(hold, each)
    run_dry(room)
    assert finished(site) == [str(live), str(spare)]


def deferring(site: Site) -> None:
    night = site.settings.night.model_copy(update={"defer_routine": True})
    site.policy = site.policy.__class__(
        site.policy.settings.model_copy(update={"night": night}), site.policy.models, site.policy.rules
    )
    site.clock.forward(TO_NOON_S)


def test_routine_studies_wait_for_the_night_where_the_site_says_so(site: Site, hold: Path) -> None:
    deferring(site)
    room = site.room(fake("patient", hold))
    routine, urgent = site.waits(SPARE), site.waits(LIVE, lane=Lane.URGENT)
    for each in (routine, urgent):
        let_go(hold, each)
    run_dry(room)
    assert finished(site) == [str(urgent)]
    site.clock.forward(TO_MIDNIGHT_S)
    room._look_again()
    run_dry(room)
    assert finished(site) == [str(urgent), str(routine)]


@pytest.mark.parametrize("how", ["forced", "fetched"])
def test_a_routine_study_that_somebody_asks_for_does_not_wait(site: Site, hold: Path, how: str) -> None:
    deferring(site)
    room = site.room(fake("patient", hold))
    routine = site.waits(SPARE)
    with site.db.transaction():
        if how == "forced":
            studies.record_asked(site.db, SPARE)
        else:
            retrievals.record(site.db, site.clock.now(), SPARE, "PACS", Purpose.ASKED)
    let_go(hold, routine)
    run_dry(room)
    assert state(site, routine) is OutcomeState.RESULT
