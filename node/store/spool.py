"""The spool: every object as it was received, one Part 10 file each, durable before it is acknowledged.

File names are ours alone: a hash of the SOP Instance UID and the digest of the bytes. Nothing received
becomes part of a path. Where an object came from stands in its file meta group (PS3.10 §7.1), so that
the index can be rebuilt from the spool.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from node.store.files import sync_folder

FOLDER = "spool"
_INCOMING = "incoming"
_SUFFIX = ".dcm"


class Spool:
    """The spool below one data folder."""

    def __init__(self, folder: Path) -> None:
        self._data = folder
        self._root = folder / FOLDER
        self._incoming = self._root / _INCOMING
        if not self._incoming.is_dir():
            # All folders at once: a name is durable only when the folder above it is synced too.
            for byte in range(256):
                (self._root / f"{byte:02x}").mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(self._root)
            sync_folder(folder)
            self._incoming.mkdir(mode=0o700, exist_ok=True)

    def new_file(self) -> Path:
        """Return a fresh path for bytes that are still arriving; its name says which process writes."""
        return self._incoming / f"{os.getpid()}-{secrets.token_hex(12)}.tmp"

    def keep(self, chunks: Iterable[bytes | memoryview], sop_instance_uid: str, digest: str) -> str:
        """Write the chunks as one object and return its path relative to the data folder.

        When this returns, object and folder are synced. `digest` is the SHA-256 of the data set's bytes.

        Raises:
            OSError: the disk is full or failing; nothing is left under a final name.
        """
        name = hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:32] + "-" + digest[:16] + _SUFFIX
        final = self._root / name[:2] / name
        temporary = self.new_file()
        try:
            with temporary.open("wb") as stream:
                for chunk in chunks:
                    stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.rename(final)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(final.parent)
        return str(final.relative_to(self._data))

    def objects(self) -> Iterator[str]:
        """Paths of all kept objects, relative to the data folder."""
        for folder in sorted(self._root.iterdir()):
            if folder.is_dir() and folder.name != _INCOMING:
                for path in sorted(folder.glob(f"*{_SUFFIX}")):
                    yield str(path.relative_to(self._data))

    def sweep(self) -> int:
        """Remove what was never acknowledged, and return the count; only while this process receives nothing.

        What another living process is writing (an import) stays.
        """
        swept = 0
        for path in self._incoming.iterdir():
            if not _is_written_elsewhere(path):
                path.unlink(missing_ok=True)
                swept += 1
        return swept


def _is_written_elsewhere(path: Path) -> bool:
    writer = path.name.partition("-")[0]
    if not writer.isdigit() or int(writer) == os.getpid():
        return False
    return Path("/proc", writer).exists()
