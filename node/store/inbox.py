"""What one room hands to the listener: Part 10 files of retrieved objects, on their way into the spool.

Each lies in a folder of its retrieval, under a name of our own; the row of the retrieval says which archive it is from.
Nothing here is durable, nor need it be: a retrieval is over only when what it was to bring is indexed.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

FOLDER = "inbox"
#: Below a retrieval's folder: where a library writes what is not whole yet.
UNFINISHED = "unfinished"
_WHOLE, _PART = ".dcm", ".part"


class Inbox:
    """The inbox below one data folder."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / FOLDER

    def folder_of(self, retrieval_id: int) -> Path:
        """The folder for what one retrieval brings, made where absent; what an earlier try left half-way is removed."""
        folder = self._root / str(retrieval_id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left_over in folder.glob(f"*{_PART}"):
            left_over.unlink(missing_ok=True)
        shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
        return folder

    def waiting(self) -> Iterator[tuple[int, Path]]:
        """Whole objects with the id of their retrieval, oldest retrieval first."""
        if not self._root.is_dir():
            return
        folders = [each for each in self._root.iterdir() if each.name.isdigit() and each.is_dir()]
        for folder in sorted(folders, key=lambda each: int(each.name)):
            for path in sorted(folder.glob(f"*{_WHOLE}")):
                yield int(folder.name), path

    def count(self, retrieval_id: int) -> int:
        """How many objects of that retrieval wait to be taken."""
        return sum(1 for _ in (self._root / str(retrieval_id)).glob(f"*{_WHOLE}"))

    def remove(self, retrieval_id: int) -> None:
        """Remove a retrieval's folder with all that lies in it."""
        shutil.rmtree(self._root / str(retrieval_id), ignore_errors=True)


def new_part(folder: Path) -> Path:
    """Return a fresh path for an object that is still being written."""
    return folder / f"{secrets.token_hex(12)}{_PART}"


def hand_over(part: Path) -> None:
    """Let the listener have an object that is whole."""
    part.rename(part.with_suffix(_WHOLE))


def waiting_bytes(folder: Path) -> int:
    """How much lies in one folder and has not been taken yet, bytes."""
    total = 0
    for path in folder.glob(f"*{_WHOLE}"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
