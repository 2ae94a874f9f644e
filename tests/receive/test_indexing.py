from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from node.config import Settings
from node.domain.time import SystemClock
from node.errors import Transient
from node.receive.arrival import Origin, arrival_of, head_of
from node.receive.header import walk
from node.receive.indexing import Entry, index
from node.store import arrivals, events, instances
from node.store.arrivals import Arrival
from node.store.database import Database
from node.store.spool import Spool
from tests.receive.objects import encoded, mr_slice

CLOCK = SystemClock()
SYNTAX = "1.2.840.10008.1.2.1"
SAME = "5a" * 16

Kept = Callable[..., Entry]


@pytest.fixture
def kept(spool: Spool) -> Kept:
    """Keep a slice as a file, and return what the indexer is told of it; every digest is the same."""

    def keep(number: int = 1, *, sending: str = "A", digest: str = SAME, **changes: object) -> Entry:
        content = encoded(mr_slice(number, **changes))  # type: ignore[arg-type]
        origin = Origin(source="SCANNER", sending_ae_title=sending)
        arrival = arrival_of(walk(content, SYNTAX), origin, SYNTAX, len(content), digest=digest)
        path = spool.keep((head_of(arrival, origin), content), arrival.sop_instance_uid, digest)
        return CLOCK.now(), replace(arrival, path=path)

    return keep


def digests(db: Database) -> list[str]:
    return [row["digest"] for row in db.rows("SELECT digest FROM instance ORDER BY id")]


def test_one_digest_is_not_believed_to_be_the_same_bytes(db: Database, spool: Spool, kept: Kept):
    entries = [kept(PatientID=patient) for patient in ("P1", "P2", "P3")]
    assert index(db, spool, entries[:2]) == 2
    assert index(db, spool, entries[2:]) == 1
    found = digests(db)
    assert found[0] == SAME
    assert [len(each) for each in found[1:]] == [64, 64]
    assert len(set(found)) == 3
    # And each of them is known again.
    assert index(db, spool, [kept(PatientID=patient, sending="B") for patient in ("P3", "P1", "P2")]) == 0
    assert digests(db) == found
    assert len({each.path for each in instances.of_study(db, current_only=False)}) == 3


def test_the_same_object_twice_in_one_batch_makes_one_row(db: Database, spool: Spool, kept: Kept):
    assert index(db, spool, [kept(sending="A"), kept(sending="B")]) == 1


def test_what_is_held_once_more_is_removed_and_what_is_held_stays(
    db: Database, spool: Spool, kept: Kept, settings: Settings
):
    first, second = kept(sending="A"), kept(sending="B")
    assert first[1].path != second[1].path
    index(db, spool, [first])
    index(db, spool, [second])
    assert list(spool.objects()) == [first[1].path]


def test_a_held_object_that_is_gone_is_replaced_by_the_new_one(
    db: Database, spool: Spool, kept: Kept, settings: Settings
):
    first, second = kept(sending="A"), kept(sending="B")
    index(db, spool, [first])
    (settings.data.folder / first[1].path).unlink()
    assert index(db, spool, [second]) == 0
    [held] = instances.of_study(db)
    assert held.path == second[1].path


@pytest.mark.parametrize("left", [b"", bytes(5000)])
def test_a_held_object_that_is_damaged_is_replaced_and_stops_nobody(
    db: Database, spool: Spool, kept: Kept, settings: Settings, left: bytes
):
    first, second = kept(sending="A"), kept(sending="B")
    index(db, spool, [first])
    (settings.data.folder / first[1].path).write_bytes(left)
    assert index(db, spool, [second]) == 0
    [held] = instances.of_study(db)
    assert held.path == second[1].path


def test_a_new_copy_that_cannot_be_read_takes_no_place(db: Database, spool: Spool, kept: Kept, settings: Settings):
    first, second = kept(sending="A"), kept(sending="B")
    index(db, spool, [first])
    (settings.data.folder / second[1].path).write_bytes(b"")
    assert index(db, spool, [second]) == 0
    [held] = instances.of_study(db)
    assert held.path == first[1].path


def test_being_told_twice_of_one_object_changes_nothing(db: Database, spool: Spool, kept: Kept):
    entry = kept()
    assert index(db, spool, [entry]) == 1
    before = len(events.latest(db, "instance")), digests(db)
    assert index(db, spool, [entry, entry]) == 0
    assert (len(events.latest(db, "instance")), digests(db)) == before
    assert list(spool.objects()) == [entry[1].path]


def test_what_another_process_indexes_meanwhile_is_compared_before_it_is_believed(
    db: Database, spool: Spool, kept: Kept, monkeypatch: pytest.MonkeyPatch
):
    entry, other = kept(), kept(sending="B")
    real = instances.held_of

    def overtaken(*arguments: object) -> object:
        found = real(*arguments)  # type: ignore[arg-type]
        with db.transaction():
            arrivals.record_arrival(db, *other)
        return found

    with monkeypatch.context() as race:
        race.setattr(instances, "held_of", overtaken)
        with pytest.raises(Transient):
            index(db, spool, [entry])
    assert index(db, spool, [entry]) == 0


def test_a_lossy_copy_in_the_same_batch_does_not_replace_a_lossless_one(db: Database, spool: Spool, kept: Kept):
    index(db, spool, [kept(digest="ab" * 16), kept(digest="cd" * 16, LossyImageCompression="01")])
    assert [each.current for each in instances.of_study(db, current_only=False)] == [True, False]
    index(db, spool, [kept(digest="ef" * 16, PatientID="P2")])
    assert [each.current for each in instances.of_study(db, current_only=False)] == [False, False, True]


def test_a_study_of_many_batches_is_touched_by_its_newest(db: Database, spool: Spool):
    def arrival(number: int) -> Arrival:
        return Arrival(
            study_instance_uid="1.2", series_instance_uid="1.2.3", sop_instance_uid=f"1.2.3.{number}",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.4", transfer_syntax_uid=SYNTAX, digest=f"{number:032x}", size=1,
            path=str(Path("spool", "00", f"{number}.dcm")), source="SCANNER",
        )  # fmt: skip

    moments = [CLOCK.now() for _ in range(10)]
    index(db, spool, [(now, arrival(number)) for number, now in enumerate(moments)])
    row = db.row("SELECT first_wall, last_wall FROM study")
    assert row is not None
    assert row["last_wall"] == moments[-1].iso
    assert len(events.of_study(db, "1.2")) == 1
