"""What was freed does not come back from the journal; what is sent again does come back, from the door."""

from __future__ import annotations

from node.config import Settings
from node.domain.time import SystemClock
from node.receive.indexing import strong_digest
from node.receive.keeper import Keeper
from node.receive.recover import rebuild
from node.store import instances, retention, tallies
from node.store.database import Database
from node.store.spool import Spool
from tests.receive.objects import STUDY, encoded, mr_slice
from tests.receive.test_filing import file_all, keep

CLOCK = SystemClock()


def free(db: Database, spool: Spool) -> None:
    """What the clock does with a study whose objects lie in files."""
    files = retention.kept_files(db, STUDY)
    digests = {each.path: strong_digest([encoded(mr_slice(1))]) for each in files}
    identities = {each.path: spool.identity(each.path) for each in files}
    with db.transaction():
        retention.record_freed(db, CLOCK.now(), STUDY, files, identities, digests, "test")
    assert all(spool.remove(path, identity) for path, identity in identities.items())


def test_a_rebuild_leaves_alone_what_was_freed_though_the_journal_still_has_it(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings
) -> None:
    keep(keeper, 1)
    file_all(db, spool)
    free(db, spool)
    counts = rebuild(db, spool, settings)
    assert (counts.objects, counts.indexed, counts.unreadable) == (0, 0, ())
    [held] = instances.of_study(db)
    assert held.freed_at
    assert tallies.lost_objects(db) == []


def test_what_is_sent_again_is_kept_again_under_its_row(keeper: Keeper, db: Database, spool: Spool) -> None:
    keep(keeper, 1)
    file_all(db, spool)
    free(db, spool)
    keep(keeper, 1)
    [held] = instances.of_study(db, current_only=False)
    assert not held.freed_at
    [path] = file_all(db, spool)
    assert list(spool.objects()) == [path]
    assert not retention.freed_counts(db)["instances"]


def test_a_file_that_has_come_anew_is_not_removed_for_the_old_one(keeper: Keeper, db: Database, spool: Spool) -> None:
    keep(keeper, 1)
    [path] = file_all(db, spool)
    identity = spool.identity(path)
    again = spool.new_file()
    again.write_bytes((spool.folder / path).read_bytes())
    assert spool.name(again, "1.2.3.4.5.1", instances.of_study(db)[0].digest) == path
    assert not spool.remove(path, identity)
    assert spool.identity(path) not in ("", identity)
