from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from node.clock.steadiness import Steadiness
from tests.fakes import FakeClock


class ShownClock(FakeClock):
    """Shows the machine's time, set wrong by `wrong`."""

    def __init__(self) -> None:
        super().__init__()
        self.wall = datetime.now(UTC)


@pytest.fixture
def scheduler() -> Iterator[BackgroundScheduler]:
    made = BackgroundScheduler(timezone="UTC", job_defaults={"misfire_grace_time": None})
    made.start()
    yield made
    made.shutdown()


@pytest.mark.parametrize("step", [timedelta(days=1), timedelta(days=-1), timedelta(hours=-1)])
def test_every_beat_comes_at_once_when_the_clock_was_set(scheduler: BackgroundScheduler, step: timedelta) -> None:
    beaten, clock = threading.Event(), ShownClock()
    steadiness = Steadiness(scheduler, clock)
    # As after a clock that was set back: the next beat is a day away.
    scheduler.add_job(beaten.set, "interval", days=1, next_run_time=datetime.now(UTC) + timedelta(days=1))
    clock.forward(10)
    clock.wall += step
    asked = clock.wall
    assert steadiness.look()
    (job,) = scheduler.get_jobs()
    assert beaten.wait(30) if asked <= datetime.now(UTC) else job.next_run_time == asked


def test_a_clock_that_goes_on_as_it_does_moves_nothing(scheduler: BackgroundScheduler) -> None:
    clock = ShownClock()
    steadiness = Steadiness(scheduler, clock)
    scheduler.add_job(lambda: None, "interval", days=1)
    (before,) = [job.next_run_time for job in scheduler.get_jobs()]
    for _ in range(10):
        clock.forward(3600)
        clock.wall += timedelta(milliseconds=300)  # as a time server corrects it
        assert not steadiness.look()
    assert [job.next_run_time for job in scheduler.get_jobs()] == [before]
