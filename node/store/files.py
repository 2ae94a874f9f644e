"""Files that are durable once written: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
from collections.abc import Callable
from functools import cache
from pathlib import Path

#: What a file system says that cannot write past the page cache.
UNABLE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
#: sync_file_range(2): begin to write the pages of a range, and do not wait.
_BEGIN_WRITING = 2


def write_durably(path: Path, *content: bytes, mode: int | None = None) -> None:
    """Put `content`, piece after piece, under `path`: whole or not at all, safe from a power cut when this returns.

    `mode`: permissions other than a new file's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("wb") as stream:
            if mode is not None:
                os.fchmod(stream.fileno(), mode)
            for piece in content:
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make what stands in a file durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def begin_writing(descriptor: int, offset: int, length: int) -> None:
    """Have the kernel begin to write a range now, so that the sync at the end finds little left; waits for nothing."""
    call = _sync_file_range()
    if call is not None:
        # What goes wrong here, the sync will tell.
        call(descriptor, offset, length, _BEGIN_WRITING)


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    try:
        call = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    call.restype = ctypes.c_int
    return call


def sweep_temporary(folder: Path) -> int:
    """Remove what a killed writer left below `folder`; return how many files went."""
    swept = 0
    if folder.is_dir():
        for path in folder.rglob(".*.tmp"):
            path.unlink(missing_ok=True)
            swept += 1
    return swept
