"""What every test may ask for."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from node.store import database
from node.store.database import FILE_NAME, Database, open_database

ROOT = Path(__file__).resolve().parents[1]
# How long an example takes tells how busy the machine is, and nothing of what is tested.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

#: Their tests wait for whole nodes most of the time.
WAITING = tuple(ROOT / "tests" / each for each in ("demo", "journeys"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files whose tests wait evenly among those that compute: where several run at once, cores stay busy."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting = [file for file in files if any(file.is_relative_to(each) for each in WAITING)]
    others = [file for file in files if file not in waiting]
    # One stands behind so many others that the last of all are others.
    placed = {file: (place + 0.5) * len(others) / len(waiting) for place, file in enumerate(waiting)}
    placed |= {file: float(place) for place, file in enumerate(others)}
    items[:] = [item for file in sorted(placed, key=placed.__getitem__) for item in files[file]]


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real studies: MATINS_TEST_DATA, or `../shared/data` beside the checkout; skips where neither is."""
    folder = Path(os.environ.get("MATINS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real studies: {folder} is not a folder; name one in MATINS_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that the migrations have made."""
    folder = tmp_path_factory.mktemp("migrated")
    open_database(folder, "test").close()
    return folder / FILE_NAME


@pytest.fixture(scope="module", autouse=True)
def new_databases(migrated: Path) -> Iterator[None]:
    """A new database is a copy of one that the migrations have made: to make each would take most of a small test."""
    migrate, lock = database._migrate, threading.Lock()

    def copy(opened: Database, connection: sqlite3.Connection, file: Path, applied: set[str]) -> None:
        with lock:
            if applied or connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'event'").fetchone():
                migrate(opened, connection, file, applied)
            else:
                made.backup(connection)

    with closing(sqlite3.connect(migrated, check_same_thread=False)) as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_migrate", copy)
        yield
