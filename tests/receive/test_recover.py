from __future__ import annotations

from pathlib import Path

import pytest

from node.config import Settings
from node.domain.time import SystemClock
from node.domain.work import WorkKind
from node.receive.arrival import Received, arrive
from node.receive.recover import rebuild
from node.store import arrivals, instances, work_items
from node.store.database import FILE_NAME, Database, open_database
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
    import os

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
