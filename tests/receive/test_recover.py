from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from node.config import Settings
from node.domain.time import SystemClock
from node.domain.work import WorkKind
from node.receive.arrival import Received, arrive
from node.receive.keeper import Keeper, Origin
from node.receive.recover import rebuild, reconcile
from node.store import arrivals, checkpoint, instances, work_items
from node.store.database import FILE_NAME, Database, open_database
from node.store.segment import BLOCK_BYTES, place_of
from node.store.segments import numbered
from node.store.spool import Spool
from tests.receive.objects import encoded, mr_slice

CLOCK = SystemClock()


def keep(db: Database, spool: Spool, content: bytes, sending: str = "SCANNER1") -> None:
    source = {"SCANNER1": "SCANNER", "": "import"}.get(sending, sending)
    arrive(
        db,
        spool,
        CLOCK,
        Received(
            content=content,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            source=source,
            sending_ae_title=sending,
            receiving_ae_title="MATINS",
        ),
    )


def told(db: Database) -> list[tuple[object, ...]]:
    return sorted(
        (each.sop_instance_uid, each.path, each.size, each.source, each.current, each.sop_class_uid)
        for each in instances.of_study(db, current_only=False)
    )


def test_the_index_of_a_deleted_database_is_rebuilt_from_the_spool(db: Database, spool: Spool, settings: Settings):
    for number in range(1, 6):
        keep(db, spool, encoded(mr_slice(number)))
    keep(db, spool, encoded(mr_slice(1, PatientID="P2")))
    keep(db, spool, encoded(mr_slice(9)), sending="")
    keep(db, spool, encoded(mr_slice(10)), sending="GONE")
    before = told(db)
    db.close()
    for file in settings.data.folder.glob(f"{FILE_NAME}*"):
        file.unlink()
    fresh = open_database(settings.data.folder, "listen", sync_commits=False)
    heard: list[tuple[int, int]] = []
    counts = rebuild(fresh, spool, settings, lambda done, whole: heard.append((done, whole)))
    assert (counts.objects, counts.indexed, counts.unreadable) == (8, 8, ())
    assert heard[-1] == (8, 8)
    assert told(fresh) == before
    assert len(work_items.claim(fresh, CLOCK.now(), WorkKind.DESCRIBE, "describe:1", 30, limit=100)) == 8
    again = rebuild(fresh, spool, settings)
    assert (again.objects, again.indexed) == (8, 0)
    fresh.close()


def test_a_kept_object_whose_row_was_lost_is_indexed_again(
    db: Database, spool: Spool, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    def power_cut(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(arrivals, "record_arrival", power_cut)
        with pytest.raises(KeyboardInterrupt):
            keep(db, spool, encoded(mr_slice()))
    assert told(db) == []
    assert rebuild(db, spool, settings).indexed == 1
    assert [row[0] for row in told(db)] == ["1.2.3.4.5.1"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda whole: b"", "an empty file"),
        (lambda whole: whole[:-3], "truncated"),
        (lambda whole: b"junk", "no DICOM file"),
        (lambda whole: whole[:-3] + b"xyz", "not those that were received"),
    ],
)
def test_a_damaged_file_is_reported_and_never_deleted(
    db: Database, spool: Spool, settings: Settings, damage, reason: str
):
    keep(db, spool, encoded(mr_slice()))
    [path] = spool.objects()
    file = settings.data.folder / path
    file.write_bytes(damage(file.read_bytes()))
    db.execute("DELETE FROM work_item")
    db.execute("DELETE FROM instance")
    counts = rebuild(db, spool, settings)
    assert [(each.path, reason in each.reason) for each in counts.unreadable] == [(path, True)]
    assert counts.indexed == 0
    assert file.exists()


def test_the_newest_version_is_current_after_a_rebuild(db: Database, spool: Spool, settings: Settings):
    for age, patient in enumerate(("P3", "P1", "P2")):
        keep(db, spool, encoded(mr_slice(1, PatientID=patient)))
        newest = max(spool.objects(), key=lambda path: (settings.data.folder / path).stat().st_mtime_ns)
        os.utime(settings.data.folder / newest, (1000 + age, 1000 + age))
    last = instances.of_study(db)[0].path
    db.execute("DELETE FROM work_item")
    db.execute("DELETE FROM instance")
    rebuild(db, spool, settings)
    assert [each.path for each in instances.of_study(db)] == [last]


def test_half_an_object_of_a_living_process_outlasts_the_sweep(spool: Spool, settings: Settings):
    incoming = settings.data.folder / "spool" / "incoming"
    theirs, ours, dead = incoming / "1-abc.tmp", spool.new_file(), incoming / "4194304999-abc.tmp"
    for file in (theirs, ours, dead):
        file.write_bytes(b"half")
    assert spool.sweep() == 2
    assert [Path(each).name for each in incoming.iterdir()] == ["1-abc.tmp"]


class Died(KeyboardInterrupt):
    """The process was killed here."""


def receive(keeper: Keeper, *numbers: int, **changes: object) -> None:
    for number in numbers:
        taken = keeper.receive(
            Origin(source="SCANNER", sending_ae_title="SCANNER1", retrieved=number == 7),
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            maximum_bytes=1 << 30,
        )
        taken.write(memoryview(encoded(mr_slice(number, **changes))))  # type: ignore[arg-type]
        taken.keep()


def unindexed(keeper: Keeper) -> Keeper:
    """Let the keeper acknowledge without indexing: the process dies before it comes to that."""
    keeper.open()
    assert keeper._indexer is not None
    keeper._indexer.close(5.0)
    return keeper


def uids(db: Database) -> list[str]:
    return [each.sop_instance_uid.rpartition(".")[2] for each in instances.of_study(db)]


def test_what_was_acknowledged_and_not_indexed_is_indexed_at_the_next_start(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings
):
    receive(keeper, 1, 2)
    keeper.settle()
    receive(unindexed(keeper), 3, 7)
    assert uids(db) == ["1", "2"]
    counts = reconcile(db, spool, settings)
    assert (counts.objects, counts.indexed, counts.unreadable) == (2, 2, ())
    assert uids(db) == ["1", "2", "3", "7"]
    assert [row["retrieved"] for row in db.rows("SELECT retrieved FROM instance ORDER BY id")] == [0, 0, 0, 1]
    assert len(work_items.claim(db, CLOCK.now(), WorkKind.DESCRIBE, "describe:1", 30, limit=9)) == 4
    assert reconcile(db, spool, settings).objects == 0


def test_the_moment_of_arrival_outlasts_the_process(keeper: Keeper, db: Database, spool: Spool, settings: Settings):
    before = CLOCK.now().iso
    receive(unindexed(keeper), 1)
    after = CLOCK.now().iso
    reconcile(db, spool, settings)
    assert before <= instances.of_study(db)[0].received_at <= after


def test_only_what_follows_the_checkpoint_is_read(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    receive(keeper, *range(1, 40))
    keeper.settle()
    walked: list[object] = []
    monkeypatch.setattr("node.receive.recover.rebuild", lambda *_: walked.append(1))
    assert reconcile(db, spool, settings).objects == 0
    assert walked == []


@pytest.mark.parametrize("lost", ["the database", "the checkpoint", "the segment of the checkpoint"])
def test_where_checkpoint_and_journal_do_not_fit_everything_is_walked(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings, lost: str
):
    keep(db, spool, encoded(mr_slice(9)))
    receive(keeper, 1, 2)
    keeper.settle()
    expected = ["9", "1", "2"]
    if lost == "the database":
        db.close()
        for file in settings.data.folder.glob(f"{FILE_NAME}*"):
            file.unlink()
        db = open_database(settings.data.folder, "listen")
    elif lost == "the checkpoint":
        db.execute("DELETE FROM journal_checkpoint")
        db.execute("DELETE FROM work_item")
        db.execute("DELETE FROM instance")
    else:
        db.execute("UPDATE journal_checkpoint SET nonce = '00'")
        db.execute("DELETE FROM work_item")
        db.execute("DELETE FROM instance")
    counts = reconcile(db, spool, settings)
    assert (counts.objects, counts.indexed) == (3, 3)
    assert uids(db) == expected
    again = reconcile(db, spool, settings)
    assert again.indexed == 0
    db.close()


def test_a_torn_tail_that_nobody_was_told_of_is_passed_over(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings
):
    receive(unindexed(keeper), 1, 2)
    [(_, file)] = numbered(settings.data.folder)
    with file.open("r+b") as stream:
        stream.seek(BLOCK_BYTES + 2 * BLOCK_BYTES)
        stream.write(bytes(BLOCK_BYTES))
    counts = reconcile(db, spool, settings)
    assert (counts.indexed, counts.unreadable) == (1, ())


def test_a_damaged_record_before_sound_ones_is_told(keeper: Keeper, db: Database, spool: Spool, settings: Settings):
    receive(unindexed(keeper), 1, 2, 3)
    [(_, file)] = numbered(settings.data.folder)
    with file.open("r+b") as stream:
        stream.seek(BLOCK_BYTES + 2000)
        stream.write(b"\xff")
    counts = reconcile(db, spool, settings)
    assert [each.reason for each in counts.unreadable] == ["its bytes are damaged"]
    assert counts.unreadable[0].path.endswith("00000001.seg@4096")
    assert uids(db) == ["2", "3"]
    with file.open("r+b") as stream:
        stream.write(b"\xff" * 12)
    assert "first block" in rebuild(db, spool, settings).unreadable[0].reason
    assert file.exists()


def test_a_rebuild_reads_files_and_journal_in_the_order_in_which_they_came(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings
):
    def by_network(number: int, **changes: object) -> None:
        receive(keeper, number, **changes)
        keeper.settle()
        # The times of files are coarse.
        time.sleep(0.02)

    by_network(1)
    keep(db, spool, encoded(mr_slice(1, PatientID="P2")))
    by_network(1, PatientID="P3")
    by_network(2)
    keep(db, spool, encoded(mr_slice(2, PatientID="P2")))

    def current() -> list[str]:
        return sorted(each.path for each in instances.of_study(db))

    before = current()
    db.execute("DELETE FROM work_item")
    db.execute("DELETE FROM instance")
    assert rebuild(db, spool, settings).indexed == 5
    assert current() == before
    assert [bool(place_of(path)) for path in before] == [False, True]


@pytest.mark.parametrize(
    "step",
    [
        "node.receive.indexing.arrivals.record_arrivals",
        "node.receive.indexing.checkpoint.write",
        "node.store.spool.Spool.name",
        "node.receive.large.sync_folder",
        "node.store.journal.write_all",
        "os.fdatasync",
    ],
)
@pytest.mark.parametrize("megabytes", [0, 2])
def test_a_death_between_any_two_steps_loses_nothing_acknowledged_and_tears_nothing(
    db: Database, spool: Spool, settings: Settings, monkeypatch: pytest.MonkeyPatch, step: str, megabytes: int
):
    """Each object is kept by a process that dies at the step; the next process finds what was acknowledged."""
    pixels = bytes(2 * 36 * (40 + megabytes * 15_000))

    def content(number: int) -> bytes:
        return encoded(mr_slice(number, Rows=40 + megabytes * 15_000, PixelData=pixels))

    acknowledged = []
    for number in range(1, 6):
        keeper = Keeper(db, spool, CLOCK, segment_bytes=4 << 20)
        taken = keeper.receive(
            Origin(source="SCANNER"), transfer_syntax_uid="1.2.840.10008.1.2.1", maximum_bytes=1 << 30
        )
        taken.write(memoryview(content(number)))
        with monkeypatch.context() as kill:
            if number % 2:
                _die_at(kill, step)
            try:
                taken.keep()
                acknowledged.append(str(number))
            except (Died, OSError):
                pass
        assert keeper._indexer is not None
        keeper._indexer.close(0.2)
        spool.sweep()
        counts = reconcile(db, spool, settings)
        assert counts.unreadable == ()
        assert set(acknowledged) <= set(uids(db))
    for each in instances.of_study(db):
        number = int(each.sop_instance_uid.rpartition(".")[2])
        assert spool.read(each.path).endswith(content(number))
    assert list((settings.data.folder / "spool" / "incoming").iterdir()) == []
    assert rebuild(db, spool, settings).unreadable == ()


def _die_at(kill: pytest.MonkeyPatch, step: str) -> None:
    def die(*_: object, **__: object) -> object:
        raise Died

    kill.setattr(step, die)


def test_a_start_without_a_journal_is_remembered(db: Database, spool: Spool, settings: Settings):
    keep(db, spool, encoded(mr_slice(1)))
    db.execute("DELETE FROM work_item")
    db.execute("DELETE FROM instance")
    assert reconcile(db, spool, settings).indexed == 1
    assert checkpoint.read(db) is not None
    assert reconcile(db, spool, settings).objects == 0
