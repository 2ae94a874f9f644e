"""One SQLite file: connections, transactions, and the counter that wakes idle rooms."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database as SqliteDatabase

from node.errors import Misconfigured, Transient
from node.store.migrations import MIGRATIONS

FILE_NAME = "matins.sqlite"
#: How long a writer waits for another one before it gives up for now.
_BUSY_S = 10.0
#: Between two tries at what SQLite itself does not wait for.
_PAUSE_S = 0.01

Value = str | int | float | bytes | None


class Database:
    """A connection of one room. Threads may share it: a transaction holds its lock."""

    def __init__(self, connection: sqlite3.Connection, folder: Path, room: str) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        #: The data folder; paths in the tables are relative to it.
        self.folder = folder
        #: Which room writes, for the events.
        self.room = room

    def execute(self, sql: str, values: Sequence[Value] = ()) -> sqlite3.Cursor:
        """Run one statement.

        Raises:
            Transient: the database stayed busy.
        """
        try:
            with self._lock:
                return self._connection.execute(sql, values)
        except sqlite3.OperationalError as error:
            raise _transient(error) from error

    def execute_each(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        """Run one statement once for each row of values.

        Raises:
            Transient: the database stayed busy.
        """
        try:
            with self._lock:
                self._connection.executemany(sql, rows)
        except sqlite3.OperationalError as error:
            raise _transient(error) from error

    def rows(self, sql: str, values: Sequence[Value] = ()) -> list[sqlite3.Row]:
        """Run one statement and return all its rows."""
        try:
            with self._lock:
                return list(self._connection.execute(sql, values).fetchall())
        except sqlite3.OperationalError as error:
            raise _transient(error) from error

    def row(self, sql: str, values: Sequence[Value] = ()) -> sqlite3.Row | None:
        """Run one statement and return its first row, if any."""
        found = self.rows(sql, values)
        return found[0] if found else None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock (`BEGIN IMMEDIATE`), commit at the end, roll back on any error.

        Keep it short: nothing slow happens inside. Not nested.

        Raises:
            Transient: the database stayed busy, or the disk is full; nothing was written.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise _transient(error) from error
            try:
                yield
                self._connection.execute("COMMIT")
            except sqlite3.OperationalError as error:
                self._roll_back()
                raise _transient(error) from error
            except BaseException:
                self._roll_back()
                raise

    def data_version(self) -> int:
        """A number that changes whenever another connection has committed (4 µs)."""
        found = self.row("PRAGMA data_version")
        assert found is not None
        return int(found[0])

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def open_database(folder: Path, room: str, *, sync_commits: bool = True) -> Database:
    """Open the database of the data folder, made and migrated where needed.

    `sync_commits=False` leaves out the sync at each commit (WAL, synchronous=NORMAL): right only for
    rows that are rebuilt from the spool at start.

    Raises:
        Misconfigured: the folder cannot be written, or the file is no database of ours.
        Transient: another room holds the database.
    """
    file = folder / FILE_NAME
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        connection = sqlite3.connect(file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    except sqlite3.DatabaseError as error:
        raise _opening(file, error) from error
    except OSError as error:
        raise Misconfigured(folder, "data.folder", str(error), "Name a folder that Matins may write") from error
    try:
        applied = _prepare(connection, file, sync_commits)
        database = Database(connection, folder, room)
        _migrate(database, connection, file, applied)
    except UnicodeDecodeError as error:
        # SQLite's message quotes a name from the damaged page, and what it quotes is no text.
        connection.close()
        raise _opening(file, sqlite3.DatabaseError("its schema is no text")) from error
    except BaseException:
        connection.close()
        raise
    return database


def _prepare(connection: sqlite3.Connection, file: Path, sync_commits: bool) -> set[str]:
    """Set the connection up, and return the names of the migrations that the file has."""
    connection.row_factory = sqlite3.Row
    try:
        _write_ahead(connection)
        connection.execute(f"PRAGMA synchronous={'FULL' if sync_commits else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys=ON")
        return {migration.name for migration in MIGRATIONS.applied(_tool(connection))}
    except sqlite3.DatabaseError as error:
        raise _opening(file, error) from error


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Give the file its write-ahead log, unless it has it.

    The switch turns a read lock into a write lock, where SQLite answers "locked" at once, whatever the timeout: two
    that hold read locks would wait for each other. So rooms that start together on a new file try again.
    """
    deadline_s = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline_s:
                raise
        time.sleep(_PAUSE_S)


def _migrate(database: Database, connection: sqlite3.Connection, file: Path, applied: set[str]) -> None:
    """Apply what is missing, one room at a time: all rooms start at once."""
    known = {migration.name for migration in MIGRATIONS._migrations}
    if applied == known:
        return
    if applied - known:
        newer = ", ".join(sorted(applied - known))
        raise Misconfigured(file, "", f"written by a newer Matins ({newer})", "Install that version again")
    with database.transaction():
        MIGRATIONS.apply(_tool(connection))


def _tool(connection: sqlite3.Connection) -> SqliteDatabase:
    return SqliteDatabase(connection, execute_plugins=False)


def _transient(error: sqlite3.OperationalError) -> Exception:
    """A busy database or a full disk passes; a wrong statement is our own mistake and stays as it is."""
    text = str(error)
    if any(word in text for word in ("locked", "busy", "full", "disk I/O")):
        return Transient(f"database: {text}")
    return error


def _opening(file: Path, error: sqlite3.DatabaseError) -> Exception:
    if isinstance(error, sqlite3.OperationalError):
        passing = _transient(error)
        if isinstance(passing, Transient):
            return passing
    return Misconfigured(
        file, "", f"not a sound database: {error}", "Move it away and run `matins check --rebuild`: the spool is whole"
    )
