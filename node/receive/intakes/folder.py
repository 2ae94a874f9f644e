"""The folder intake: Part 10 files from a disk take the same way as what comes over the network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from node.config import Settings
from node.domain.time import Clock, SystemClock
from node.errors import Refused, Transient
from node.receive.arrival import IMPORT, Received, arrive, has_room
from node.receive.intakes import Running
from node.receive.keeper import Keeper
from node.receive.part10 import read_meta
from node.receive.recover import mapped
from node.receive.status import CANNOT_UNDERSTAND
from node.store.database import Database
from node.store.spool import Spool

NAME = "folder"
#: The index of a medium, no object of a study (PS3.3 §F).
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"


class Verdict(StrEnum):
    """What became of one file."""

    KEPT = "kept"
    #: Exactly these bytes were held already.
    HELD = "held"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedFile:
    """One file that was looked at."""

    path: Path
    verdict: Verdict
    #: Why it was refused.
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCounts:
    """What an import did."""

    kept: int
    held: int
    refused: tuple[ImportedFile, ...]


def start(settings: Settings, keeper: Keeper) -> Running | None:  # noqa: ARG001
    """Nothing listens: `import_paths` is called when somebody asks."""
    return None


def import_paths(
    db: Database,
    spool: Spool,
    settings: Settings,
    paths: Sequence[Path],
    progress: Callable[[ImportedFile], None] = lambda _file: None,
    *,
    clock: Clock | None = None,
) -> ImportCounts:
    """Take in every file of `paths`, folders with all below them, in the order of their names.

    A file that is refused does not stop the others; `progress` hears each. Links to folders are not followed.

    Raises:
        Transient: the disk has no reserve left, or the database stayed busy; what was kept until then stays.
    """
    clock = clock or SystemClock()
    counts = dict.fromkeys(Verdict, 0)
    refused: list[ImportedFile] = []
    for path in _files(paths):
        if not has_room(settings.data.folder, settings.data.minimum_free_percent):
            raise Transient(f"less than {settings.data.minimum_free_percent:g} % of the disk is free")
        imported = _import(db, spool, clock, settings, path)
        counts[imported.verdict] += 1
        if imported.verdict is Verdict.REFUSED:
            refused.append(imported)
        progress(imported)
    return ImportCounts(kept=counts[Verdict.KEPT], held=counts[Verdict.HELD], refused=tuple(refused))


def _import(db: Database, spool: Spool, clock: Clock, settings: Settings, path: Path) -> ImportedFile:
    try:
        with mapped(path) as whole:
            if len(whole) > settings.receive.maximum_object_bytes:
                raise Refused(CANNOT_UNDERSTAND, "larger than [receive] maximum_object_bytes")
            meta = read_meta(whole)
            if meta.sop_class_uid == _MEDIA_DIRECTORY:
                raise Refused(CANNOT_UNDERSTAND, "a DICOMDIR, the index of a medium")
            with whole[meta.dataset_offset :] as content:
                received = Received(
                    content=content,
                    transfer_syntax_uid=meta.transfer_syntax_uid,
                    source=IMPORT,
                )
                largest = settings.receive.deflated_maximum_bytes
                kept = arrive(db, spool, clock, received, inflated_maximum_bytes=largest)
    except Refused as error:
        return ImportedFile(path=path, verdict=Verdict.REFUSED, reason=error.reason)
    except OSError as error:
        return ImportedFile(path=path, verdict=Verdict.REFUSED, reason=error.strerror or str(error))
    return ImportedFile(path=path, verdict=Verdict.KEPT if kept else Verdict.HELD)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from (Path(folder, name) for name in sorted(names))
