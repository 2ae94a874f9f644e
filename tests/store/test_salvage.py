from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node.store.database import FILE_NAME, open_database
from node.store.salvage import damage, put_aside
from tests.fakes import FakeClock, arrive, slice_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def truncated(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 2)


def overwritten(file: Path) -> None:
    # The page of the table's root, behind the first: every layout has something there.
    with file.open("r+b") as stream:
        stream.seek(4096)
        stream.write(random.Random(1).randbytes(512))


def no_database(file: Path) -> None:
    file.write_bytes(b"something else entirely" * 400)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a database in which something stands."""
    db, clock = open_database(tmp_path, "test"), FakeClock()
    for number in range(1, 300):
        arrive(db, clock.now(), slice_of(number), describe=False)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return tmp_path


def test_a_sound_database_is_left_alone(folder: Path) -> None:
    assert damage(folder) == ""


def test_no_database_is_no_damage(tmp_path: Path) -> None:
    assert damage(tmp_path) == ""


@pytest.mark.parametrize("harm", [truncated, overwritten, no_database])
def test_damage_is_found_and_the_file_is_kept_under_another_name(folder: Path, harm: Callable[[Path], None]) -> None:
    file = folder / FILE_NAME
    harm(file)
    content = file.read_bytes()
    assert damage(folder)
    aside = put_aside(folder, NOW)
    assert aside.name == f"{FILE_NAME}.damaged-20260102T030405"
    assert aside.read_bytes() == content
    assert not list(folder.glob(f"{FILE_NAME}-*"))
    open_database(folder, "test").close()
    assert damage(folder) == ""


def test_a_database_that_another_process_holds_is_not_called_damaged(folder: Path) -> None:
    other = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    assert damage(folder, limit_s=0.05) == ""
    other.close()


def test_the_check_takes_no_longer_than_it_may(folder: Path) -> None:
    truncated(folder / FILE_NAME)
    assert damage(folder, limit_s=0.0) in ("", damage(folder))
