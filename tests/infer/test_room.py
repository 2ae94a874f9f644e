"""The infer room as `matins serve` runs it: a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.domain.work import OutcomeState, WorkKind
from node.store import work_items
from node.workflow import reading
from tests.conftest import ROOT
from tests.infer.conftest import Site


@pytest.fixture
def start(site: Site, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts the room on the data folder of `site`."""
    config = tmp_path / "config.toml"
    config.write_text(
        '[data]\nfolder = "var"\n[infer]\ndevice = "cpu"\nthreads = 1\n[models.tiny]\nmode = "live"\n'
        '[catalogue]\nmodels_folder = "models"\nrules_folder = "rules"\n'
    )
    (tmp_path / "rules").mkdir()
    started = []

    def starts() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "node", "infer", "--config", str(config)]
        started.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL))
        return started[-1]

    yield starts
    for process in started:
        process.kill()
        process.wait()


def wait_for(site: Site, outcome_id: int, state: OutcomeState) -> None:
    for _ in range(1200):
        if site.outcome(outcome_id).state is state:
            return
        time.sleep(0.05)
    pytest.fail(f"still {site.outcome(outcome_id).state}: {site.outcome(outcome_id).reason}")


def test_the_room_reads_what_comes_has_no_torch_in_it_and_ends_in_good_order(
    site: Site, start: Callable[[], subprocess.Popen[bytes]]
):
    room = start()
    for study in ("1.2.3.1", "1.2.3.2"):
        wait_for(site, site.waits(study), OutcomeState.RESULT)
    maps = Path(f"/proc/{room.pid}/maps").read_text()
    assert "libpython" in maps or "python" in maps
    assert "torch" not in maps
    assert "highdicom" not in maps
    room.send_signal(signal.SIGTERM)
    assert room.wait(60) == 0


def test_what_a_killed_room_held_is_read_by_the_next_one(site: Site, start: Callable[[], subprocess.Popen[bytes]]):
    outcome_id = site.waits("1.2.3.1")
    (item,) = work_items.claim(site.db, site.clock.now(), WorkKind.INFER, "infer:1", 1e9)
    with site.db.transaction():
        reading.begin(site.db, site.clock.now(), item)
    assert site.outcome(outcome_id).state is OutcomeState.RUNNING
    start()
    wait_for(site, outcome_id, OutcomeState.RESULT)
