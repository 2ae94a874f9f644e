"""Who serves a data folder: one `matins serve` at a time, known by a lock that dies with its holder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.errors import Misconfigured

LOCK_NAME = "serve.lock"
#: Held by the retrieve room, whoever started it.
RETRIEVE_LOCK = "retrieve.lock"
#: Held by the listen room, which alone writes the journal.
LISTEN_LOCK = "listen.lock"
_HOLDERS = {LOCK_NAME: "`matins serve`", RETRIEVE_LOCK: "retrieve room", LISTEN_LOCK: "listen room"}


@contextmanager
def occupied(folder: Path, lock: str = LOCK_NAME) -> Iterator[None]:
    """Hold the data folder for this process while the block runs; the folder is made if it is missing.

    Raises:
        Misconfigured: another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder / lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Misconfigured(folder, "data.folder", str(error), "Name a folder that Matins may write") from error
    try:
        if not _lock_patiently(descriptor):
            other = _holder(descriptor)
            problem = f"another {_HOLDERS[lock]} ({other}) serves this data folder"
            raise Misconfigured(folder, "data.folder", problem, "End it first, or name another folder with --data")
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_occupied(folder: Path, lock: str = LOCK_NAME) -> bool:
    """Whether a `matins serve`, or the room of that lock, works on the data folder now."""
    try:
        descriptor = os.open(folder / lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock_patiently(descriptor: int) -> bool:
    """Try for a moment: whoever asks `is_occupied` holds the lock for some microseconds."""
    for _ in range(10):
        if _lock(descriptor):
            return True
        time.sleep(0.02)
    return False


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 20, 0).decode("ascii", "replace")
    return f"process {text}" if text.isdigit() else "a process that is just starting"
