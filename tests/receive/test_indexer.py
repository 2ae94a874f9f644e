from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from node.domain.time import SystemClock
from node.errors import Transient
from node.receive import indexer as indexer_module
from node.receive.indexer import Indexer
from node.receive.keeper import Keeper, Origin
from node.store import checkpoint, instances
from node.store.arrivals import Arrival
from node.store.database import FILE_NAME, Database, open_database
from node.store.journal import Place
from node.store.segment import Use, path_of
from node.store.spool import Spool
from tests.receive.objects import encoded, mr_slice

CLOCK = SystemClock()
USE = Use(1, bytes(range(16)))


def durable(number: int) -> tuple[Place, tuple[object, Arrival]]:
    arrival = Arrival(
        study_instance_uid="1.2",
        series_instance_uid="1.2.3",
        sop_instance_uid=f"1.2.3.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        digest=f"{number:032x}",
        size=10,
        path="",
        source="SCANNER",
    )
    place = Place(USE, 4096 * number, 4096 * (number + 1), path_of(1, 4096 * number, 10))
    return place, (CLOCK.now(), arrival)


def opened(db: Database) -> Callable[[], Database]:
    return lambda: open_database(db.folder, "listen", sync_commits=False)


def count(db: Database) -> int:
    return len(db.rows("SELECT id FROM instance"))


class Lock:
    """Another process that holds the write lock."""

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / FILE_NAME, isolation_level=None)

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is busy says so at once, and the index is behind after four objects."""
    monkeypatch.setattr("node.store.database._BUSY_S", 0.05)
    monkeypatch.setattr(indexer_module, "_MOST_WAITING", 4)
    monkeypatch.setattr(indexer_module, "_PATIENCE_S", 0.1)


def test_rows_and_checkpoint_are_written_together(db: Database, spool: Spool):
    indexer = Indexer(opened(db), spool)
    for number in range(1, 601):
        indexer.put([durable(number)])  # type: ignore[list-item]
    assert indexer.close(30)
    assert count(db) == 600
    reached = checkpoint.read(db)
    assert reached == (USE, 4096 * 601)
    rows = db.rows("SELECT path FROM instance ORDER BY id")
    assert [row["path"] for row in rows] == [path_of(1, 4096 * number, 10) for number in range(1, 601)]


def test_a_batch_that_cannot_be_written_leaves_neither_rows_nor_checkpoint(
    db: Database, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    refused = threading.Event()
    real = checkpoint.write

    def fail_once(*arguments: object) -> None:
        if not refused.is_set():
            assert count(db) == 0
            refused.set()
            raise ZeroDivisionError
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoint, "write", fail_once)
    indexer = Indexer(opened(db), spool)
    indexer.put([durable(1), durable(2)])  # type: ignore[list-item]
    assert indexer.close(30)
    assert refused.is_set()
    assert count(db) == 2


@pytest.mark.usefixtures("impatient")
def test_a_busy_database_closes_the_door_until_it_is_free_again(db: Database, spool: Spool):
    keeper = Keeper(db, spool, CLOCK, segment_bytes=4 << 20)

    def send(number: int) -> None:
        taken = keeper.receive(
            Origin(source="SCANNER"), transfer_syntax_uid="1.2.840.10008.1.2.1", maximum_bytes=1 << 20
        )
        taken.write(memoryview(encoded(mr_slice(number))))
        taken.keep()

    with Lock(db.folder):
        for number in range(1, 5):
            send(number)
        for number in (5, 6):
            with pytest.raises(Transient, match="the index is 4 objects behind"):
                send(number)
        assert count(db) == 0
    assert keeper.settle(20)
    send(5)
    assert keeper.settle(20)
    assert [each.sop_instance_uid[-1] for each in instances.of_study(db)] == ["1", "2", "3", "4", "5"]
    keeper.close()


@pytest.mark.usefixtures("impatient")
def test_what_waits_too_long_closes_the_door_too(db: Database, spool: Spool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(indexer_module, "_LONGEST_S", 0.05)
    indexer = Indexer(opened(db), spool)
    with Lock(db.folder):
        indexer.put([durable(1)])  # type: ignore[list-item]
        time.sleep(0.1)
        with pytest.raises(Transient, match="1 objects behind"):
            indexer.admit()
    assert indexer.settle(20)
    indexer.admit()
    indexer.close(5)


@pytest.mark.usefixtures("impatient")
def test_who_comes_while_it_catches_up_is_made_to_wait_and_let_in(
    db: Database, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(indexer_module, "_PATIENCE_S", 20.0)
    indexer = Indexer(opened(db), spool)
    with Lock(db.folder):
        indexer.put([durable(number) for number in range(1, 6)])  # type: ignore[misc]
        admitted = threading.Thread(target=indexer.admit)
        admitted.start()
        admitted.join(0.1)
        assert admitted.is_alive()
    admitted.join(20)
    assert not admitted.is_alive()
    indexer.close(5)


@pytest.mark.usefixtures("impatient")
def test_an_end_does_not_wait_for_ever(db: Database, spool: Spool):
    indexer = Indexer(opened(db), spool)
    with Lock(db.folder):
        indexer.put([durable(1)])  # type: ignore[list-item]
        assert not indexer.close(0.3)
    assert count(db) == 0
