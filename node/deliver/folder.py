"""A folder as destination: each object a file under its SOP Instance UID, whole or not at all, and durable."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from node.config import Peer, Settings
from node.deliver.carriage import Lost, Unreachable
from node.deliver.statuses import Answer, Verdict
from node.deliver.stored import StoredHeader
from node.store import files
from node.store.capabilities import Capability

#: Until a person mends it; anything else (a full disk, a share that is away) may pass by itself.
_LASTING = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
)
_OTHER_BYTES = "a file of this name with other bytes is there already. See which is right, and remove one"


@contextmanager
def opened(peer: Peer, settings: Settings, stored: Sequence[StoredHeader]) -> Iterator[Folder]:  # noqa: ARG001
    """See that the folder is there: it is not made, for it may be the place of a disk that is not mounted.

    Raises:
        Unreachable: it is not there, or does not answer.
    """
    assert peer.folder is not None
    try:
        there = peer.folder.is_dir()
    except OSError as error:
        raise _unreachable(peer.folder, error) from error
    if not there:
        problem = (
            f"the folder {peer.folder} is not there. Create it (is a disk not mounted?) or correct {peer.name}'s folder"
        )
        raise Unreachable(problem, by_configuration=True)
    yield Folder(peer.folder)


class Folder:
    """A folder that was there a moment ago."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def learnt(self) -> list[Capability]:
        """Nothing: a folder takes everything."""
        return []

    def refusal(self, stored: StoredHeader) -> str:  # noqa: ARG002
        """Nothing is refused."""
        return ""

    def send(self, stored: StoredHeader, content: bytes, *, plainly: bool, limit_s: float) -> Answer:  # noqa: ARG002
        """Put the file there; the same bytes may be there already.

        Raises:
            Lost: it cannot be written now.
            Unreachable: it cannot be written until somebody allows it.
        """
        path = self._folder / f"{stored.sop_instance_uid}.dcm"
        try:
            if path.exists():
                return self._compared(path, content)
            for left_behind in self._folder.glob(f".{path.name}.*.tmp"):
                left_behind.unlink(missing_ok=True)
            files.write_durably(path, content)
        except OSError as error:
            raise _unreachable(self._folder, error) from error
        return Answer(verdict=Verdict.SENT, logged="written")

    def _compared(self, path: Path, content: bytes) -> Answer:
        with path.open("rb") as stream:
            there = hashlib.file_digest(stream, "sha256").digest()
        if there != hashlib.sha256(content).digest():
            return Answer(verdict=Verdict.DEAD, reason=f"{_OTHER_BYTES}, then `matins retry`", logged="other bytes")
        # Whoever wrote it may have died before it was durable.
        files.sync_file(path)
        files.sync_folder(path.parent)
        return Answer(verdict=Verdict.SENT, logged="there already")


def _unreachable(folder: Path, error: OSError) -> Unreachable | Lost:
    reason = f"the folder {folder} cannot be written: {error.strerror}"
    if error.errno in _LASTING:
        return Unreachable(f"{reason}. Let this user write there", by_configuration=True)
    return Lost(reason)
