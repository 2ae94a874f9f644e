from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from node.errors import Misconfigured, Transient
from node.store import database, salvage
from node.store.database import FILE_NAME, Database, open_database
from node.store.migrations import MIGRATIONS


@pytest.fixture(scope="module", autouse=True)
def new_databases() -> None:
    """Here the migrations make each."""


def _another_writer(folder: Path) -> sqlite3.Connection:
    """A connection that writes to a new file which has no write-ahead log yet."""
    folder.mkdir()
    other = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_a_failed_transaction_leaves_nothing(db: Database) -> None:
    with pytest.raises(RuntimeError), db.transaction():
        db.execute(
            "INSERT INTO event (at, room, about, subject, after) VALUES ('a', 'b', 'c', 'd', 'e')",
        )
        raise RuntimeError
    assert db.rows("SELECT * FROM event") == []


def test_another_connections_commit_changes_the_data_version(db: Database) -> None:
    before = db.data_version()
    with db.transaction():
        db.execute("INSERT INTO event (at, room, about, subject, after) VALUES ('a', 'b', 'c', 'd', 'e')")
    assert db.data_version() == before
    other = open_database(db.folder, "other")
    with other.transaction():
        other.execute("INSERT INTO event (at, room, about, subject, after) VALUES ('a', 'b', 'c', 'd', 'e')")
    assert db.data_version() != before
    other.close()


def test_a_busy_database_is_a_passing_fault(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_S", 0.05)
    other = open_database(db.folder, "other")
    with db.transaction(), pytest.raises(Transient, match="locked"), other.transaction():
        pass
    other.close()


def test_rooms_that_start_together_migrate_once(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def start(number: int) -> None:
        try:
            open_database(tmp_path / "var", f"room{number}").close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_new_file_is_tried_again_while_another_room_writes_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(_another_writer(tmp_path / "var")) as other:
        monkeypatch.setattr(time, "sleep", lambda _s: other.rollback())
        with closing(open_database(tmp_path / "var", "test")) as db:
            assert [tuple(row) for row in db.rows("PRAGMA journal_mode")] == [("wal",)]


def test_a_new_file_that_stays_busy_is_a_passing_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_S", 0.05)
    with closing(_another_writer(tmp_path / "var")), pytest.raises(Transient, match="locked"):
        open_database(tmp_path / "var", "test")


def test_a_file_that_is_refused_is_let_go(db: Database) -> None:
    db.execute("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('matins', 'future', 'x')")
    db.close()
    # `refused` keeps the frames, and the connection in them: nothing but close() lets the file go.
    with pytest.raises(Misconfigured) as refused:
        open_database(db.folder, "older")
    assert [file for file in psutil.Process().open_files() if Path(file.path).parent == db.folder] == [], refused.value


def test_migrations_are_recorded_by_topic(db: Database) -> None:
    names = [row["name"] for row in db.rows("SELECT name FROM _sqlite_migrations ORDER BY id")]
    assert names[:6] == ["studies", "instances", "work_items", "outcomes", "outbox", "history"]
    assert names == [migration.name for migration in MIGRATIONS._migrations]


def test_a_newer_database_is_refused(db: Database) -> None:
    db.execute("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('matins', 'future', 'x')")
    with pytest.raises(Misconfigured, match="newer Matins"):
        open_database(db.folder, "older")


def test_what_is_no_database_is_named_with_the_remedy(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    folder.mkdir()
    (folder / FILE_NAME).write_bytes(b"rubbish" * 1000)
    with pytest.raises(Misconfigured, match="--rebuild"):
        open_database(folder, "test")


@pytest.mark.parametrize(("sync", "level"), [(True, 2), (False, 1)])
def test_commits_are_synced_unless_the_rows_can_be_rebuilt(tmp_path: Path, sync: bool, level: int) -> None:
    db = open_database(tmp_path / "var", "test", sync_commits=sync)
    (row,) = db.rows("PRAGMA synchronous")
    assert row[0] == level
    db.close()


def test_a_wrong_statement_is_not_taken_for_a_passing_fault(db: Database) -> None:
    with pytest.raises(sqlite3.OperationalError):
        db.rows("SELECT nothing FROM nowhere")


def test_a_schema_that_is_no_text_is_damage_with_the_remedy(tmp_path: Path) -> None:
    open_database(tmp_path, "test").close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as raw, raw:
        raw.execute("PRAGMA writable_schema=ON")
        raw.execute(
            "UPDATE sqlite_master SET name = CAST(x'b4b4' AS TEXT), sql = CAST(x'435245415445205441424c4520b4' AS TEXT)"
            " WHERE rowid = 3"
        )
    assert salvage.damage(tmp_path) == "its schema is no text"
    with pytest.raises(Misconfigured, match=r"its schema is no text.*check --rebuild"):
        open_database(tmp_path, "test")
