"""DCMTK as a performer. Its programs know no procedure steps (findscu has no such model), but its library does."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.config import Settings
from node.domain.time import SystemClock
from node.domain.ups import UpsState
from node.receive.intakes import cstore
from node.receive.keeper import Keeper
from node.store import ups
from node.store.database import Database, open_database
from node.store.spool import Spool
from tests.interop.programs import missing, program
from tests.receive.ups.conftest import ASKER, LOCK, OTHER_LOCK, Calling, calling, creation, settings_of

__all__ = ["calling"]

_REMEDY = "on Debian: apt-get install g++ libdcmtk-dev"
pytestmark = pytest.mark.interop


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("var", "var/models", "var/rules"):
        (tmp_path / name).mkdir()
    return settings_of(tmp_path / "var")


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    database = open_database(settings.data.folder, "test")
    yield database
    database.close()


@pytest.fixture
def port(settings: Settings, db: Database) -> Iterator[int]:
    keeper = Keeper(db, Spool(db.folder), SystemClock())
    running = cstore.start(settings, keeper)
    yield running.port
    running.stop(0.0)
    keeper.close()


@pytest.fixture(scope="module")
def performer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = program("g++", _REMEDY)
    built = tmp_path_factory.mktemp("dcmtk") / "ups_scu"
    source = Path(__file__).with_name("ups_scu.cc")
    libraries = ["-ldcmnet", "-ldcmdata", "-loflog", "-lofstd"]
    done = subprocess.run(
        [compiler, "-O0", str(source), "-o", str(built), *libraries], capture_output=True, text=True, timeout=100
    )
    if "dcmtk/" in done.stderr and "No such file" in done.stderr:
        missing(f"DCMTK's headers are not installed: {_REMEDY}")
    assert done.returncode == 0, done.stderr
    return built


def test_dcmtk_finds_a_step_claims_it_and_is_told_the_refusals(
    calling: Calling, port: int, db: Database, performer: Path
) -> None:
    asker = calling(ASKER)
    for number in (1, 2):
        assert asker.create(creation(ProcedureStepLabel=f"Read {number}"), f"1.2.3.9.{number}")[0] == 0x0000

    def perform(title: str, lock: str, *states: str) -> list[str]:
        command = [str(performer), "127.0.0.1", str(port), title, "MATINS", lock, *states]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()

    assert perform("READER1", LOCK, "IN PROGRESS", "IN PROGRESS", "SCHEDULED", "COMPLETED") == [
        *("found 1.2.3.9.1 Read 1", "found 1.2.3.9.2 Read 2"),
        *("IN PROGRESS 0000", "IN PROGRESS C302", "SCHEDULED C303", "COMPLETED C304"),
    ]
    row = ups.step(db, "1.2.3.9.1")
    assert row is not None
    assert (row.state, row.transaction_uid, row.performer) == (UpsState.IN_PROGRESS, LOCK, "READER")
    # What is claimed is no longer found.
    assert perform("SECOND1", OTHER_LOCK, "COMPLETED") == ["found 1.2.3.9.2 Read 2", "COMPLETED C310"]
