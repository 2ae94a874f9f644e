"""Deflated objects: inflated within a bound before they are acknowledged, kept as they came, described in limits."""

from __future__ import annotations

import os
import random
import resource
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, MRImageStorage

from node.config import Settings
from node.domain.time import SystemClock
from node.errors import Refused
from node.receive.describer import describe
from node.receive.header import walk, walk_file
from node.receive.intakes import cstore
from node.receive.intakes.folder import import_paths
from node.receive.keeper import Keeper
from node.receive.part10 import head, read_meta
from node.receive.protocol import Job
from node.receive.recover import rebuild
from node.store import instances
from node.store.database import Database, open_database
from node.store.spool import Spool
from tests.receive.objects import STUDY, encoded, mr_slice, part10, settings_for
from tests.receive.peer import calling, store

SYNTAX = str(DeflatedExplicitVRLittleEndian)
MOST_BYTES = 1 << 20


def deflated(content: bytes) -> bytes:
    """As a sender deflates it (PS3.5 §A.5): no header, no checksum, of even length."""
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    made = deflater.compress(content) + deflater.flush()
    return made + b"\0" * (len(made) % 2)


def bomb(size: int) -> bytes:
    """A sound data set with so many zeros in a private element."""
    zeros = b"\x29\x00\x01\x10OB\0\0" + size.to_bytes(4, "little")
    return deflated(zeros + bytes(size) + encoded(mr_slice()))


def deflated_file(content: bytes) -> bytes:
    dataset = mr_slice()
    start = head(
        sop_class_uid=dataset.SOPClassUID,
        sop_instance_uid=dataset.SOPInstanceUID,
        transfer_syntax_uid=SYNTAX,
        sending="SCANNER1",
        receiving="MATINS",
    )
    return start + content


def both_ways(content: bytes, tmp_path: Path, maximum_bytes: int = MOST_BYTES) -> None:
    """Walk over it in memory and in a file."""
    walk(content, SYNTAX, inflated_maximum_bytes=maximum_bytes)
    file = tmp_path / "deflated"
    file.write_bytes(content)
    with file.open("rb") as stream:
        walk_file(stream.fileno(), 0, SYNTAX, inflated_maximum_bytes=maximum_bytes)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path / "var", receive={"deflated_maximum_bytes": MOST_BYTES})


@pytest.fixture
def keeper(db: Database, spool: Spool) -> Iterator[Keeper]:
    made = Keeper(db, spool, SystemClock(), segment_bytes=4 << 20, inflated_maximum_bytes=MOST_BYTES)
    yield made
    made.close()


def test_the_header_of_a_deflated_object_is_found(tmp_path: Path):
    content = deflated(encoded(mr_slice()))
    plain = walk(encoded(mr_slice()), ExplicitVRLittleEndian)
    assert walk(content, SYNTAX, inflated_maximum_bytes=MOST_BYTES) == plain
    assert walk(content[: -1 if content[-1] == 0 else None], SYNTAX, inflated_maximum_bytes=MOST_BYTES) == plain
    both_ways(content, tmp_path)


def test_none_is_taken_where_no_size_is_allowed():
    with pytest.raises(Refused, match="deflated data set: send or save it inflated") as refused:
        walk(deflated(encoded(mr_slice())), SYNTAX)
    assert refused.value.status == 0xC000


def test_the_bound_is_exact(tmp_path: Path):
    plain = encoded(mr_slice())
    both_ways(deflated(plain), tmp_path, len(plain))
    with pytest.raises(Refused, match=f"inflates to more than {len(plain) - 1} bytes"):
        both_ways(deflated(plain), tmp_path, len(plain) - 1)


def test_a_bomb_is_refused_in_little_memory(tmp_path: Path):
    content = bomb(256 << 20)
    assert len(content) < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match="inflates to more than 33554432 bytes") as refused:
            both_ways(content, tmp_path, 32 << 20)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert refused.value.status == 0xC000


def test_what_is_within_the_bound_is_walked_in_little_memory(tmp_path: Path):
    content = bomb(24 << 20)
    tracemalloc.start()
    try:
        both_ways(content, tmp_path, 32 << 20)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("large", [False, True])
def test_every_cut_is_refused(large: bool):
    whole = bomb(100_000) if large else deflated(encoded(mr_slice(PixelData=b"ab" * 40)))
    whole = whole.rstrip(b"\0")
    for cut in range(0, len(whole), 7):
        with pytest.raises(Refused) as refused:
            walk(whole[:cut], SYNTAX, inflated_maximum_bytes=MOST_BYTES)
        assert refused.value.status == 0xC000


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda sound: sound[:20] + bytes(255 - byte for byte in sound[20:60]) + sound[60:], "damaged|truncated"),
        (lambda sound: sound + b"\0\0more", "behind the deflated data set"),
        (lambda sound: zlib.compress(encoded(mr_slice())), "damaged"),
        (lambda _: encoded(mr_slice()), "damaged|truncated"),
        (lambda _: deflated(encoded(mr_slice())[:-2]), "truncated"),
        (lambda _: deflated(encoded(mr_slice(StudyInstanceUID=None))), "missing or empty: Study"),
        (lambda _: b"", "truncated"),
        (lambda _: deflated(b""), "missing or empty"),
    ],
)
def test_what_is_not_sound_is_refused(damage, reason: str, tmp_path: Path):
    with pytest.raises(Refused, match=reason) as refused:
        both_ways(damage(deflated(encoded(mr_slice()))), tmp_path)
    assert refused.value.status == 0xC000


def test_over_the_network_it_is_kept_as_it_came_and_a_bomb_is_refused(
    door: cstore.Acceptor, keeper: Keeper, db: Database, spool: Spool
):
    sound = deflated(encoded(mr_slice()))
    with calling(door.port, syntaxes=(SYNTAX,)) as association:
        answer = store(association, bomb(64 << 20), syntax=SYNTAX)
        assert (answer.Status, answer.ErrorComment) == (0xC000, "deflated, and inflates to more than 1048576 bytes")
        assert store(association, sound, syntax=SYNTAX).Status == 0
    assert keeper.settle()
    [held] = instances.of_study(db, STUDY)
    whole = spool.read(held.path)
    meta = read_meta(whole)
    assert (meta.transfer_syntax_uid, whole[meta.dataset_offset :]) == (SYNTAX, sound)


def test_where_a_peer_offers_more_the_deflated_syntax_is_the_last_choice(door: cstore.Acceptor):
    with calling(door.port, classes=(MRImageStorage,)) as association:
        assert len(association.accepted_contexts) == 1
    contexts = cstore.offered(deflated=True).contexts[MRImageStorage]
    assert contexts.transfer_syntax[-1] == SYNTAX
    assert SYNTAX not in cstore.offered().contexts[MRImageStorage].transfer_syntax


def test_a_file_is_imported_within_the_same_bound(db: Database, spool: Spool, settings: Settings, tmp_path: Path):
    (tmp_path / "sound.dcm").write_bytes(deflated_file(deflated(encoded(mr_slice()))))
    (tmp_path / "bomb.dcm").write_bytes(deflated_file(bomb(4 << 20)))
    counts = import_paths(db, spool, settings, [tmp_path / "sound.dcm", tmp_path / "bomb.dcm"])
    assert (counts.kept, [each.reason for each in counts.refused]) == (
        1,
        ["deflated, and inflates to more than 1048576 bytes"],
    )


def test_what_was_kept_is_indexed_again_though_none_is_taken_any_more(
    db: Database, spool: Spool, settings: Settings, tmp_path: Path
):
    (tmp_path / "sound.dcm").write_bytes(deflated_file(deflated(encoded(mr_slice()))))
    assert import_paths(db, spool, settings, [tmp_path / "sound.dcm"]).kept == 1
    [path] = spool.objects()
    again = settings_for(tmp_path / "again")
    with closing(open_database(again.data.folder, "listen")) as empty:
        bare = Spool(again.data.folder)
        os.rename(db.folder / path, again.data.folder / path)
        counts = rebuild(empty, bare, again)
    assert (counts.indexed, counts.unreadable) == (1, ())


def test_a_deflated_object_is_described_like_the_same_one_inflated(tmp_path: Path):
    plain, packed = tmp_path / "plain.dcm", tmp_path / "packed.dcm"
    plain.write_bytes(part10(mr_slice()))
    packed.write_bytes(deflated_file(deflated(encoded(mr_slice()))))
    one, other = (describe(Job(id=1, path=str(file), issuer="A"), 10).instance for file in (plain, packed))
    assert one is not None
    assert other is not None
    assert other.pixels == one.pixels
    assert other.content_digest == one.content_digest
    assert (one.transfer_syntax_uid, other.transfer_syntax_uid) == (ExplicitVRLittleEndian, SYNTAX)


def test_describing_inflates_no_more_than_its_process_may_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (4 << 20, 4 << 20))
    packed = tmp_path / "packed.dcm"
    packed.write_bytes(deflated_file(bomb(2 << 20)))
    answer = describe(Job(id=1, path=str(packed), issuer="A"), 10)
    assert (answer.instance, answer.undescribable) == (None, "deflated, and inflates to more than 1048576 bytes")


@pytest.mark.parametrize("seed", range(4))
def test_mutated_deflated_objects_are_refused_or_walked(seed: int):
    chance = random.Random(seed)
    whole = deflated(encoded(mr_slice())[:1200])
    for _ in range(250):
        mutated = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            mutated[chance.randrange(len(mutated))] ^= 1 << chance.randrange(8)
        with suppress(Refused):
            walk(bytes(mutated), SYNTAX, inflated_maximum_bytes=MOST_BYTES)
