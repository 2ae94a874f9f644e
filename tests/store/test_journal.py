from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from xxhash import xxh3_128_digest

from node.errors import Failed
from node.store import journal as journal_module
from node.store.buffers import Buffer
from node.store.journal import Journal, Place
from node.store.segment import BLOCK_BYTES, records
from node.store.segments import Segments, numbered, read_use
from node.store.spool import Spool
from tests.disk import writes_past_the_page_cache
from tests.site import wait_until

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

    def append_direct(self, name: str, content: bytes, buffer: Buffer | None = None) -> Place:
        """Append what lies in a buffer, and is written past the page cache where that can be."""
        buffer = buffer or Buffer(len(content))
        buffer.content[: len(content)] = content
        lies = buffer.content[: len(content)]
        return self.journal.append(name.encode(), b"head", lies, xxh3_128_digest(content), name, buffer=buffer)


class HeldSyncs:
    """Every sync waits until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        self.count = 0
        real = os.fdatasync

        def held(descriptor: int) -> None:
            self.count += 1
            self.entered.set()
            assert self.go.wait(20)
            real(descriptor)

        monkeypatch.setattr(os, "fdatasync", held)


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
    syncs = HeldSyncs(monkeypatch)
    leader = threading.Thread(target=kept.append, args=("leader",))
    leader.start()
    assert syncs.entered.wait(20)
    waiting = [threading.Thread(target=kept.append, args=(f"n{number}",)) for number in range(7)]
    for thread in waiting:
        thread.start()
    while len(kept.journal._queue) < 7:
        time.sleep(0.001)
    syncs.go.set()
    for thread in (leader, *waiting):
        thread.join(10)
    assert syncs.count == 2
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
    kept.append("first")
    syncs = HeldSyncs(monkeypatch)
    writer = threading.Thread(target=kept.append, args=("second",))
    writer.start()
    assert syncs.entered.wait(20)
    kept.journal.close()
    syncs.go.set()
    writer.join()
    assert [name for _, name in kept.told] == ["first", "second"]
    kept.journal.close()
    assert kept.segments.sealed() == [1]


LONG = 150_001


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path, segment_bytes=4 << 20)
    yield made
    made.journal.close()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each write of a group went past the page cache."""
    past: list[bool] = []
    real = os.pwritev

    def pwritev(descriptor: int, pieces: Sequence[bytes | memoryview], offset: int) -> int:
        past.append(bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT))
        return real(descriptor, pieces, offset)

    monkeypatch.setattr(os, "pwritev", pwritev)
    return past


def test_a_long_record_is_written_past_the_page_cache_and_a_short_one_through_it(
    roomy: Kept, written: list[bool], tmp_path: Path
) -> None:
    if not writes_past_the_page_cache(tmp_path):
        pytest.skip("this file system writes nothing past the page cache")
    contents = {"long": b"a" * LONG, "short": b"b" * 5000, "long again": b"c" * (LONG + 4096)}
    places = [
        roomy.append_direct("long", contents["long"]),
        roomy.append("short", contents["short"]),
        roomy.append_direct("long again", contents["long again"]),
    ]
    assert written == [True, False, True]
    assert [Spool(roomy.folder).read(place.path) for place in places] == [b"head" + each for each in contents.values()]
    assert [note.rstrip(" ") for note in on_disk(roomy.folder)] == list(contents)


def test_what_is_written_together_goes_one_way_and_is_read_back_each(
    roomy: Kept, written: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy.append("first")
    syncs = HeldSyncs(monkeypatch)
    appends = [
        lambda: roomy.append("leader"),
        lambda: roomy.append_direct("long", b"x" * LONG),
        lambda: roomy.append("s"),
    ]
    threads = [threading.Thread(target=append) for append in appends]
    threads[0].start()
    assert syncs.entered.wait(20)
    for thread in threads[1:]:
        thread.start()
    wait_until("both to wait", lambda: len(roomy.journal._queue) == 2)
    syncs.go.set()
    for thread in threads:
        thread.join()
    assert written == [False, False, False]
    spool = Spool(roomy.folder)
    assert sorted(len(spool.read(place.path)) for place, _ in roomy.told[2:]) == [11, LONG + 4]


def test_a_buffer_that_is_used_again_leaves_nothing_of_the_object_before_in_the_journal(roomy: Kept) -> None:
    buffer = Buffer(2 * LONG)
    roomy.append_direct("one", b"patient one " * 20_000, buffer)
    place = roomy.append_direct("two", b"b" * LONG, buffer)
    lies = (roomy.folder / "spool" / "journal" / "00000001.seg").read_bytes()
    record = lies[place.offset : place.end]
    assert b"patient one" not in record
    assert record.rstrip(b"\0").endswith(b"b" * LONG)


def test_a_head_that_leaves_no_room_in_the_block_before_the_content_is_kept_all_the_same(roomy: Kept) -> None:
    head, content = b"h" * 5000, b"x" * LONG
    buffer = Buffer(LONG)
    buffer.content[:] = content
    place = roomy.journal.append(b"{}", head, buffer.content, xxh3_128_digest(content), "long head", buffer=buffer)
    assert Spool(roomy.folder).read(place.path) == head + content


def test_who_waits_for_no_sync_does_not_wait_for_the_disk(tmp_path: Path, written: list[bool]) -> None:
    made = Kept(tmp_path, segment_bytes=4 << 20)
    made.journal = Journal(made.segments, made.durable, sync=False)
    made.append_direct("long", b"a" * LONG)
    made.journal.close()
    assert written == [False]


@pytest.mark.parametrize("refuses", ["the flag", "the write"])
def test_a_file_system_that_writes_nothing_past_the_page_cache_keeps_it_through_it(
    roomy: Kept, refuses: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_control, real_write = fcntl.fcntl, os.pwritev
    refused: list[int] = []

    def unable(*_: object) -> int:
        refused.append(1)
        raise OSError(errno.EINVAL, "Invalid argument")

    def control(descriptor: int, command: int, value: int = 0) -> int:
        wants = command == fcntl.F_SETFL and value & os.O_DIRECT
        return unable() if wants and refuses == "the flag" else real_control(descriptor, command, value)

    def pwritev(descriptor: int, pieces: Sequence[bytes | memoryview], offset: int) -> int:
        is_direct = real_control(descriptor, fcntl.F_GETFL) & os.O_DIRECT
        return unable() if is_direct and refuses == "the write" else real_write(descriptor, pieces, offset)

    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "pwritev", pwritev)
    places = [roomy.append_direct(name, name.encode() * LONG) for name in "ab"]
    assert [Spool(roomy.folder).read(place.path) for place in places] == [b"head" + b"a" * LONG, b"head" + b"b" * LONG]
    assert len(refused) == 1, "it is not tried again in the same segment"
    assert [place.use.number for place in places] == [1, 1]


def test_a_disk_that_fails_past_the_page_cache_is_not_asked_through_it(
    roomy: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy.append("before")
    asked: list[int] = []

    def failing(descriptor: int, pieces: Sequence[bytes | memoryview], offset: int) -> int:
        asked.append(offset)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as disk:
        disk.setattr(os, "pwritev", failing)
        with pytest.raises(OSError, match="Input/output error"):
            roomy.append_direct("lost", b"x" * LONG)
    assert len(asked) == 1
    assert roomy.append_direct("after", b"y" * LONG).use.number == 2
