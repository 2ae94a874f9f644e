"""Files that somebody points at: themselves, all below a folder, and what lies in .zip archives, one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from node.errors import Refused
from node.receive import zipped
from node.receive.recover import mapped
from node.receive.status import CANNOT_UNDERSTAND

_ARCHIVE_SUFFIX = ".zip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One file that may hold an object; both functions raise Refused, or OSError, where it cannot be read."""

    #: The archive's where it lies in one.
    path: Path
    #: Its name inside the archive, as the archive says, for people alone; empty where it lies in none.
    entry: str
    #: Somebody named this very file.
    named: bool
    #: Its first bytes, so many or fewer.
    beginning: Callable[[int], bytes]
    #: All of it.
    content: Callable[[], AbstractContextManager[memoryview]]


def candidates(paths: Sequence[Path], maximum_bytes: int, folder: Path) -> Iterator[Candidate]:
    """Every file of `paths` in the order of their names; each has to be done with before the next is asked for.

    Links to folders are not followed. An archive is looked into when it was named itself, or is called `.zip`; one
    inside another is not. No file is larger than `maximum_bytes`; one of an archive may lie in `folder` meanwhile.
    """
    for path, named in _listed(paths):
        if not _may_be_archive(path, named):
            yield _file(path, named, maximum_bytes)
            continue
        try:
            with zipped.opened(path) as archive:
                for entry in archive.entries:
                    content = partial(archive.content, entry, maximum_bytes, folder)
                    yield Candidate(
                        path=path,
                        entry=entry.filename,
                        named=False,
                        beginning=partial(archive.beginning, entry),
                        content=content,
                    )
        except (Refused, OSError) as error:
            yield _unreadable(path, error)


def count(paths: Sequence[Path]) -> int:
    """How many candidates there will be."""
    found = 0
    for path, named in _listed(paths):
        entries = 1
        if _may_be_archive(path, named):
            try:
                with zipped.opened(path) as archive:
                    entries = len(archive.entries)
            except (Refused, OSError):
                pass
        found += entries
    return found


def _listed(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Every file, and whether it was named itself."""
    for path in paths:
        if not path.is_dir():
            yield path, True
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from ((Path(folder, name), False) for name in sorted(names))


def _may_be_archive(path: Path, named: bool) -> bool:
    if not named and path.suffix.lower() != _ARCHIVE_SUFFIX:
        return False
    try:
        return path.is_file() and zipped.is_archive(_beginning(path, 4))
    except OSError:
        return False


def _file(path: Path, named: bool, maximum_bytes: int) -> Candidate:
    return Candidate(
        path=path,
        entry="",
        named=named,
        beginning=partial(_beginning, path),
        content=partial(_mapped, path, maximum_bytes),
    )


def _beginning(path: Path, size: int) -> bytes:
    if not path.is_file() and path.exists():
        # Opening a pipe would wait for whoever writes into it.
        raise Refused(CANNOT_UNDERSTAND, "neither a file nor a folder")
    with path.open("rb") as stream:
        return stream.read(size)


def _mapped(path: Path, maximum_bytes: int) -> AbstractContextManager[memoryview]:
    if path.stat().st_size > maximum_bytes:
        raise Refused(CANNOT_UNDERSTAND, "larger than [receive] maximum_object_bytes")
    return mapped(path)


def _unreadable(path: Path, error: Refused | OSError) -> Candidate:
    def fail(_size: int) -> bytes:
        raise error

    return Candidate(path=path, entry="", named=True, beginning=fail, content=partial(mapped, path))
