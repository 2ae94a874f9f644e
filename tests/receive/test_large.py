from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from xxhash import xxh3_128_hexdigest

from node.errors import Refused
from node.receive.arrival import Origin, arrival_of, head_of
from node.receive.large import HEAD_BYTES, LargeFile
from node.receive.part10 import read_meta
from node.store import files
from node.store.direct import Blocks
from node.store.spool import Spool
from tests.receive.objects import encoded, mr_slice

BLOCKS = Blocks()
SYNTAX = "1.2.840.10008.1.2.1"
CONTENT = encoded(mr_slice(PixelData=bytes(range(256)) * 4096))


def written(spool: Spool, content: bytes = CONTENT) -> LargeFile:
    large = LargeFile(spool, BLOCKS)
    for start in range(0, len(content), 100_000):
        large.write(memoryview(content)[start : start + 100_000])
    return large


def keep(large: LargeFile, content: bytes = CONTENT, origin: Origin | None = None) -> str:
    header = large.looked_over(SYNTAX)
    origin = origin or Origin(source="A" * 64, sending_ae_title="B" * 16, receiving_ae_title="C" * 16, retrieved=True)
    digest = xxh3_128_hexdigest(content)
    arrival = arrival_of(header, origin, SYNTAX, len(content), digest=digest)
    return large.keep(head_of(arrival, origin, length=HEAD_BYTES), header.sop_instance_uid, digest)


def test_it_is_a_part_10_file_with_its_bytes_unchanged(spool: Spool, tmp_path: Path):
    path = keep(written(spool))
    whole = (spool.folder / path).read_bytes()
    meta = read_meta(whole)
    assert meta.dataset_offset == HEAD_BYTES
    assert whole[HEAD_BYTES:] == CONTENT
    assert whole[:128] == bytes(128)
    assert '"retrieved": true' in meta.origin
    assert list((spool.folder / "spool" / "incoming").iterdir()) == []


@pytest.mark.parametrize("source", ["A", "Ä" * 64, '"' * 64])
def test_the_head_has_its_length_whatever_the_source_is_called(spool: Spool, source: str):
    path = keep(written(spool), origin=Origin(source=source))
    assert read_meta((spool.folder / path).read_bytes()).dataset_offset == HEAD_BYTES


def test_what_is_cut_off_is_refused_and_leaves_nothing(spool: Spool):
    large = written(spool, CONTENT[:-10])
    with pytest.raises(Refused, match="truncated"):
        large.looked_over(SYNTAX)
    large.discard()
    large.discard()
    assert list((spool.folder / "spool" / "incoming").iterdir()) == []


def test_a_failing_sync_leaves_nothing_under_a_final_name(spool: Spool, monkeypatch: pytest.MonkeyPatch):
    large = written(spool)

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            keep(large)
    large.discard()
    assert list(spool.objects()) == []


def test_a_system_without_early_writing_does_without(spool: Spool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "_sync_file_range", lambda: None)
    assert keep(written(spool))
