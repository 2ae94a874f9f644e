"""Putting an exported model among those of the node, locked: we have made it ourselves, and say from which run."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from node.catalogue.cards import CARD
from node.catalogue.intake import arriving
from node.catalogue.lock import Entry, examine, read_lock, write_entry
from node.catalogue.versions import NEXT, place, renamed
from node.config import Settings
from node.errors import Failed
from node.workflow.policy import locks


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What became of it."""

    folder: Path
    #: Where it is locked: beside the models, or the site's own.
    lock: Path
    entry: Entry
    #: Whether the version that was there is kept: `matins models rollback NAME`.
    kept: bool


def install(settings: Settings, model: Path, *, beside: bool = False) -> Installed:
    """Copy the exported folder `model` into the models folder, lock it, and leave its mode as it is.

    A version of that name that was trusted is kept; with `beside` it stays where it is, and the new one comes as
    NAME-next, to be compared with it. Where the models' lock cannot be written, the site's own is.

    Raises:
        Misconfigured: its card is wrong, or files are missing.
        Failed: the models folder cannot be written.
    """
    models, known = settings.catalogue.models_folder, locks(settings)
    name = f"{model.name}{NEXT}" if beside else model.name
    try:
        with arriving(models) as folder:
            shutil.copytree(model, folder / name)
            if beside:
                card = folder / name / CARD
                card.write_text(renamed(card.read_text(encoding="utf-8"), name, model.name), encoding="utf-8")
            _, entry = examine(folder, name)
            kept = place(folder / name, models, name, known)
    except OSError as error:
        remedy = f"Run `matins models add` as somebody who may, with {model}"
        raise Failed(f"{models} cannot be written: {error.strerror}. {remedy}") from error
    return Installed(folder=models / name, lock=_locked(known, name, entry), entry=entry, kept=kept)


def _locked(known: tuple[Path, ...], name: str, entry: Entry) -> Path:
    problems = []
    for lock in known:
        try:
            lock.parent.mkdir(mode=0o700, exist_ok=True)
            write_entry(lock, name, entry)
        except OSError as error:
            problems.append(f"{lock} cannot be written: {error.strerror}")
            continue
        assert read_lock(lock)[name].has_digests_of(entry)
        return lock
    raise Failed("; ".join(problems))
