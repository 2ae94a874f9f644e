from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from xxhash import xxh3_128_digest

from node.errors import Failed
from node.store import journal as journal_module
from node.store.journal import Journal, Place
from node.store.segment import BLOCK_BYTES, records
from node.store.segments import Segments, numbered, read_use
from node.store.spool import Spool

SMALL = 256 << 10


class Kept:
    """A journal over a folder, and what it said was durable."""

    def __init__(self, folder: Path, *, segment_bytes: int = SMALL) -> None:
        self.folder = folder
        self.segments = Segments(folder, segment_bytes=segment_bytes)
        self.told: list[tuple[Place, str]] = []
        self.journal: Journal[str] = Journal(self.segments, self.durable)

    def durable(self, group: Sequence[tuple[Place, str]]) -> None:
        self.told += group

    def append(self, name: str, content: bytes = b"content") -> Place:
        return self.journal.append(name.encode(), b"head", content, xxh3_128_digest(content), name)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path)
    yield made
    made.journal.close()


def on_disk(folder: Path) -> list[str]:
    """The notes of all sound records, in order."""
    notes = []
    for _, file in numbered(folder):
        use = read_use(file)
        assert use is not None
        with file.open("rb") as stream:
            notes += [each.note.decode() for each in records(stream.fileno(), use) if each.intact]
    return notes


def at_once(count: int, work) -> list[BaseException | None]:  # type: ignore[no-untyped-def]
    """Run `work(number)` in as many threads; return what each raised."""
    raised: list[BaseException | None] = [None] * count
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except OSError as error:
            raised[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_what_is_appended_is_read_back_under_its_path(kept: Kept) -> None:
    place = kept.append("a", b"x" * 10_000)
    assert Spool(kept.folder).read(place.path) == b"head" + b"x" * 10_000
    assert kept.told == [(place, "a")]


def test_nobody_is_told_before_the_sync_and_nothing_else_is_synced(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.append("first")
    steps: list[str] = []
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        real(descriptor)
        steps.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr(kept.journal, "_durable", lambda group: steps.append("told"))
    kept.append("second")
    assert steps == ["00000001.seg", "told"]


def test_many_at_once_share_a_sync_and_keep_their_order(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.append("first")
    syncs: list[int] = []
    entered, go = threading.Event(), threading.Event()
    real = os.fdatasync

    def slow(descriptor: int) -> None:
        syncs.append(descriptor)
        entered.set()
        go.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    leader = threading.Thread(target=kept.append, args=("leader",))
    leader.start()
    entered.wait(10)
    waiting = [threading.Thread(target=kept.append, args=(f"n{number}",)) for number in range(7)]
    for thread in waiting:
        thread.start()
    while len(kept.journal._queue) < 7:
        time.sleep(0.001)
    go.set()
    for thread in (leader, *waiting):
        thread.join(10)
    assert len(syncs) == 2
    assert len(kept.told) == 9
    assert [name for _, name in kept.told] == on_disk(kept.folder)
    assert [place.offset for place, _ in kept.told] == sorted(place.offset for place, _ in kept.told)


def test_a_full_segment_is_sealed_and_the_next_one_is_used(kept: Kept) -> None:
    for number in range(20):
        kept.append(str(number), b"x" * 50_000)
    assert on_disk(kept.folder) == [str(number) for number in range(20)]
    assert len(numbered(kept.folder)) == 5
    assert kept.segments.sealed() == [1, 2, 3, 4]


def test_hammering_from_many_threads_keeps_every_record_once(kept: Kept) -> None:
    def work(thread: int) -> None:
        for number in range(25):
            kept.append(f"{thread}-{number}", bytes([thread]) * (1000 + 700 * number))

    assert at_once(8, work) == [None] * 8
    assert sorted(on_disk(kept.folder)) == sorted(f"{t}-{n}" for t in range(8) for n in range(25))
    assert [name for _, name in kept.told] == on_disk(kept.folder)


def test_a_record_larger_than_a_segment_is_refused_and_costs_nobody_else(kept: Kept) -> None:
    with pytest.raises(OSError, match="larger than a segment"):
        kept.append("huge", bytes(SMALL))
    kept.append("small")
    assert on_disk(kept.folder) == ["small"]


def test_a_failed_sync_fails_all_of_its_group_and_is_never_tried_again(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.append("before")
    real, failed = os.fdatasync, []

    def failing(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").resolve().name
        if name == "00000001.seg":
            failed.append(name)
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.raises(OSError, match="Input/output error"):
        kept.append("lost")
    assert kept.append("after").use.number == 2
    kept.append("later")
    assert failed == ["00000001.seg"]
    assert [name for _, name in kept.told] == ["before", "after", "later"]


def test_a_segment_over_which_the_disk_failed_is_never_used_again(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.append("before")
    with monkeypatch.context() as failing:
        failing.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
        with pytest.raises(OSError, match="I/O"):
            kept.append("lost")
    kept.append("after")
    kept.segments.free(1)
    assert kept.segments.spares() == 0
    assert [number for number, _ in numbered(kept.folder)] == [2]


def test_a_short_write_is_an_error_and_seals_the_segment(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.append("before")
    with monkeypatch.context() as short:
        short.setattr(os, "pwritev", lambda descriptor, pieces, offset: 100)
        with pytest.raises(OSError, match="short write"):
            kept.append("lost")
    assert kept.append("after").use.number == 2


def test_a_full_disk_is_told_to_who_waits_and_passes(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "posix_fallocate", full)
        raised = at_once(4, lambda number: kept.append(str(number)))
        assert [getattr(each, "errno", 0) for each in raised] == [errno.ENOSPC] * 4
    assert [path.name for path in (kept.folder / "spool" / "journal").iterdir()] == []
    kept.append("room again")
    assert on_disk(kept.folder) == ["room again"]


def test_a_fault_of_our_own_wakes_everybody_and_is_not_swallowed(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise ZeroDivisionError

    with monkeypatch.context() as fault:
        fault.setattr(journal_module, "packed", broken)
        with pytest.raises(ZeroDivisionError):
            kept.append("lost")
    kept.append("after")
    assert on_disk(kept.folder) == ["after"]


def test_the_next_process_appends_to_a_segment_of_its_own(kept: Kept) -> None:
    kept.append("one")
    # Killed: nothing is closed.
    following = Kept(kept.folder)
    assert following.segments.sealed() == [1]
    assert following.append("two").use.number == 2
    assert on_disk(kept.folder) == ["one", "two"]


def test_a_drained_segment_is_used_again_under_another_number(kept: Kept) -> None:
    for number in range(9):
        kept.append(str(number), b"x" * 50_000)
    assert kept.segments.sealed() == [1, 2]
    kept.segments.free(1)
    kept.segments.free(2)
    assert kept.segments.spares() == 2
    for number in range(9, 14):
        kept.append(str(number), b"y" * 50_000)
    assert on_disk(kept.folder) == [str(number) for number in range(8, 14)]
    assert [number for number, _ in numbered(kept.folder)] == [3, 4]
    with pytest.raises(FileNotFoundError):
        Spool(kept.folder).read(kept.told[0][0].path)


def test_a_damaged_record_is_never_handed_out(kept: Kept) -> None:
    place = kept.append("a", b"x" * 5000)
    spool = Spool(kept.folder)
    with (kept.folder / "spool" / "journal" / "00000001.seg").open("r+b") as stream:
        stream.seek(place.offset + BLOCK_BYTES)
        stream.write(b"y")
    with pytest.raises(Failed, match="damaged"):
        spool.read(place.path)
    assert spool.holds(place.path)


def test_closing_takes_no_descriptor_from_who_still_writes(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    syncing, released = threading.Event(), threading.Event()
    real = os.fdatasync
    kept.append("first")

    def slow(descriptor: int) -> None:
        syncing.set()
        assert released.wait(20)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    writer = threading.Thread(target=kept.append, args=("second",))
    writer.start()
    assert syncing.wait(20)
    kept.journal.close()
    released.set()
    writer.join()
    assert [name for _, name in kept.told] == ["first", "second"]
    kept.journal.close()
    assert kept.segments.sealed() == [1]
