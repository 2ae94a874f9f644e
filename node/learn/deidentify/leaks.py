"""Whether a folder tells of anybody whose studies are held here: data sets, models, reports, pictures of failures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from node.errors import Failed
from node.learn.deidentify.contents import identifiers, texts, without_pixels
from node.learn.deidentify.identities import Identity, Kind, Sought
from node.store import instances, studies
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A file that tells of somebody; what it tells is never repeated."""

    #: Relative to the folder; masked where the name itself tells it.
    file: str
    kinds: tuple[Kind, ...]


def identities(db: Database) -> Iterator[Identity]:
    """What leads to the studies that are held, one after the other."""
    for study in studies.worklist(db, every=True):
        yield identity_of(db, study.study_instance_uid)


def identity_of(db: Database, study_instance_uid: str) -> Identity:
    """What leads to one study: as the study has it, and as each of its instances, in every version."""
    study = studies.study(db, study_instance_uid)
    held = instances.of_study(db, study_instance_uid, current_only=False)
    described = [each.instance for each in held if each.instance is not None]
    patients = [each.patient for each in described] + ([study.patient] if study else [])
    orders = [each.order for each in described] + ([study.order] if study else [])
    return Identity(
        names=frozenset(each.name for each in patients if each.name),
        patient_ids=frozenset(each.patient_id for each in patients if each.is_identified),
        birth_dates=frozenset(each.birth_date for each in patients if each.birth_date),
        accession_numbers=frozenset(each.accession_number for each in orders if each.accession_number),
        uids=frozenset(
            {
                study_instance_uid,
                *(uid for each in held for uid in (each.series_instance_uid, each.sop_instance_uid)),
                *(each.frame_of_reference_uid for each in described),
            }
        ),
    )


def leaks(folder: Path, sought: Sought) -> list[Leak]:
    """Look through every file of a folder, or through one file; what is found, by name.

    Raises:
        Failed: there is no such folder, or a file of it cannot be read.
    """
    if not folder.exists():
        raise Failed(f"{folder} is not there")
    found = [_looked_through(file, folder, sought) for file in _files(folder)]
    return [each for each in found if each.kinds]


def _files(folder: Path) -> Iterable[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file()) if folder.is_dir() else [folder]


def _looked_through(file: Path, folder: Path, sought: Sought) -> Leak:
    name = file.relative_to(folder).as_posix() if file != folder else file.name
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Failed(f"a file of {folder} cannot be read: {error.strerror}") from error
    by_name = set(sought.in_text(name)) | {
        kind for part in Path(name).parts for kind in sought.in_identifier(Path(part).stem)
    }
    kinds = by_name | kinds_in(content, sought)
    if by_name:
        name = f"(its name tells it){Path(name).suffix} [{hashlib.sha256(content).hexdigest()[:12]}]"
    return Leak(file=name, kinds=tuple(sorted(kinds)))


def kinds_in(content: bytes, sought: Sought) -> set[Kind]:
    """What a file's content tells."""
    found = {kind for value in identifiers(content) for kind in sought.in_identifier(value)}
    for text in texts(without_pixels(content)):
        found |= sought.in_text(text)
    return found
