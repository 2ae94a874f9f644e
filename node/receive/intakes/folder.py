"""The folder intake: Part 10 files from a disk, also inside .zip archives, take the same way as what is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from xxhash import xxh3_128_hexdigest

from node.config import Peer, Settings
from node.domain.time import Clock, SystemClock
from node.errors import Refused, Transient
from node.receive import zipped
from node.receive.arrival import IMPORT, Received, arrive, has_room, looked_over
from node.receive.candidates import Candidate, candidates
from node.receive.intakes import Running
from node.receive.keeper import Keeper
from node.receive.part10 import is_dicom, read_meta
from node.receive.status import CANNOT_UNDERSTAND
from node.store import instances, studies
from node.store.database import Database
from node.store.spool import Spool

NAME = "folder"
#: The index of a medium, no object of a study (PS3.3 §F).
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
#: Enough to see what a file is.
_BEGINNING_BYTES = 132


class Verdict(StrEnum):
    """What became of one file."""

    #: Taken in; in a dry run, it would be.
    KEPT = "kept"
    #: Exactly these bytes were held already.
    HELD = "held"
    REFUSED = "refused"
    #: No object of a study: another kind of file, or the index of a medium. One that was named itself is refused.
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedFile:
    """One file that was looked at."""

    #: The archive's where it lies in one.
    path: Path
    verdict: Verdict
    #: Why it was refused or skipped.
    reason: str = ""
    #: Its name inside the archive, as the archive says; empty where it lies in none.
    entry: str = ""
    #: Study Instance UID of what was kept or held.
    study_instance_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCounts:
    """What an import did."""

    kept: int
    held: int
    refused: tuple[ImportedFile, ...]
    skipped: tuple[ImportedFile, ...] = ()
    #: Study Instance UIDs of what was kept or held, in the order in which they came.
    studies: tuple[str, ...] = ()


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
    source: Peer | None = None,
    dry_run: bool = False,
) -> ImportCounts:
    """Take in every file of `paths`, folders and .zip archives with all that is in them, in the order of their names.

    A file that is refused does not stop the others; `progress` hears each. Links to folders are not followed. A study
    taken in by hand counts as asked for, however old it is. With a `source`, everything is as if that peer had sent it:
    its results go where those of the peer go. A dry run only looks.

    Raises:
        Transient: the disk has no reserve left, or the database stayed busy; what was kept until then stays.
    """
    import_ = _Import(db, spool, clock or SystemClock(), settings, source, dry_run)
    kept = held = 0
    refused: list[ImportedFile] = []
    skipped: list[ImportedFile] = []
    for candidate in candidates(paths, settings.receive.maximum_object_bytes, settings.data.folder):
        file = import_.judge(candidate)
        kept += file.verdict is Verdict.KEPT
        held += file.verdict is Verdict.HELD
        if file.verdict is Verdict.REFUSED:
            refused.append(file)
        elif file.verdict is Verdict.SKIPPED:
            skipped.append(file)
        progress(file)
    return ImportCounts(
        kept=kept, held=held, refused=tuple(refused), skipped=tuple(skipped), studies=tuple(import_.studies)
    )


class _Import:
    """One import at work."""

    def __init__(
        self, db: Database, spool: Spool, clock: Clock, settings: Settings, source: Peer | None, dry_run: bool
    ) -> None:
        self._db = db
        self._spool = spool
        self._clock = clock
        self._settings = settings
        self._source = source
        self._dry_run = dry_run
        self._inflated_maximum_bytes = settings.receive.deflated_maximum_bytes
        #: Study Instance UIDs, in the order in which they came.
        self.studies: dict[str, None] = {}

    def judge(self, candidate: Candidate) -> ImportedFile:
        """Look at one file, and keep it where it is an object.

        Raises:
            Transient: it cannot be kept for now.
        """
        verdict, reason, study_instance_uid = Verdict.REFUSED, "", ""
        try:
            reason = _why_no_object(candidate.beginning(_BEGINNING_BYTES), candidate.entry)
            if not reason:
                with candidate.content() as whole:
                    verdict, reason, study_instance_uid = self._object(whole)
            elif not candidate.named:
                verdict = Verdict.SKIPPED
        except Refused as error:
            reason = error.reason
        except OSError as error:
            reason = error.strerror or str(error)
        if verdict is Verdict.SKIPPED and candidate.named:
            verdict = Verdict.REFUSED
        return ImportedFile(
            path=candidate.path,
            entry=candidate.entry,
            verdict=verdict,
            reason=reason,
            study_instance_uid=study_instance_uid,
        )

    def _object(self, whole: memoryview) -> tuple[Verdict, str, str]:
        meta = read_meta(whole)
        if meta.sop_class_uid == _MEDIA_DIRECTORY:
            return Verdict.SKIPPED, "a DICOMDIR, the index of a medium: name the folder that it lies in", ""
        with whole[meta.dataset_offset :] as content:
            received = Received(
                content=content,
                transfer_syntax_uid=meta.transfer_syntax_uid,
                source=self._source.name if self._source else IMPORT,
                sending_ae_title=self._source.ae_title if self._source else "",
            )
            header = looked_over(content, meta.transfer_syntax_uid, inflated_maximum_bytes=self._inflated_maximum_bytes)
            if self._dry_run:
                key = (header.sop_instance_uid, xxh3_128_hexdigest(content))
                is_new = key not in instances.held_of(self._db, [header.sop_instance_uid])
            else:
                is_new = self._keep(received)
                self._ask(header.study_instance_uid)
        self.studies[header.study_instance_uid] = None
        return Verdict.KEPT if is_new else Verdict.HELD, "", header.study_instance_uid

    def _keep(self, received: Received) -> bool:
        reserve = self._settings.data.minimum_free_percent
        if not has_room(self._settings.data.folder, reserve):
            raise Transient(f"less than {reserve:g} % of the disk is free")
        largest = self._inflated_maximum_bytes
        return arrive(self._db, self._spool, self._clock, received, inflated_maximum_bytes=largest)

    def _ask(self, study_instance_uid: str) -> None:
        """Who takes a study in by hand wants it read."""
        if study_instance_uid not in self.studies:
            with self._db.transaction():
                studies.record_asked(self._db, study_instance_uid)


def _why_no_object(beginning: bytes, entry: str) -> str:
    if not beginning:
        return "an empty file"
    if zipped.is_archive(beginning):
        if entry.lower().endswith(".zip"):
            raise Refused(CANNOT_UNDERSTAND, "an archive inside an archive: unpack it first")
        return "an archive that is not called .zip: name it itself"
    return "" if is_dicom(beginning) else "no DICOM file"
