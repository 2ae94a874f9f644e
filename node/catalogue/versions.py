"""Putting a new version of a model in the place of the old one, and the old one back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from node.catalogue.cards import CARD
from node.catalogue.lock import Entry, examine, read_lock, write_entry
from node.errors import Failed, Misconfigured

#: Beside the models, which do not see it: the version before, `<name>/model`, and its entry in `<name>/models.lock`.
PREVIOUS = ".previous"
#: Added to the name of a version that is compared with the one in its place.
NEXT = "-next"
_KEPT = "model"
_LOCK = "models.lock"
_NAME = re.compile(r'^name[ \t]*=[ \t]*"[^"\n]*"[ \t]*$', re.MULTILINE)
_SHADOW = re.compile(r'^shadow_of[ \t]*=[ \t]*"[^"\n]*"[ \t]*(#.*)?\n?', re.MULTILINE)
_VERSION = re.compile(r'^version\s*=\s*"[^"\n]*"', re.MULTILINE)


def place(arrived: Path, models_folder: Path, name: str, locks: Sequence[Path]) -> bool:
    """Move `arrived` to the model's place; return whether the version that was there is kept for `roll_back`.

    It is kept where one of `locks` has it as it is: what nobody trusted is not worth going back to.

    Raises:
        Failed: it cannot be moved.
    """
    folder = models_folder / name
    try:
        kept = folder.exists() and _keep(folder, models_folder, locks)
        if folder.exists():
            shutil.rmtree(folder)
        arrived.rename(folder)
    except OSError as error:
        raise Failed(f"{folder} cannot be written: {error.strerror}") from error
    return kept


def roll_back(models_folder: Path, name: str, lock: Path, locks: Sequence[Path]) -> Entry:
    """Exchange the model for the version before, trusted as it was, and return its entry in `lock`.

    The version that was there takes its place where it was trusted: rolling back twice changes nothing.

    Raises:
        Misconfigured: there is no version before, or its files are not those that were trusted.
        Failed: it cannot be moved.
    """
    home = models_folder / PREVIOUS / name
    entry = read_lock(home / _LOCK).get(name)
    if entry is None or not (home / _KEPT / CARD).is_file():
        raise Misconfigured(models_folder / name, "", "there is no version before", "`models add --replace` keeps one")
    arrived = models_folder / f".arriving-{name}"
    try:
        shutil.rmtree(arrived, ignore_errors=True)
        # Judged under its own name: the card says which folder it belongs to.
        (arrived / name).parent.mkdir(mode=0o700)
        shutil.copytree(home / _KEPT, arrived / name)
        _, found = examine(arrived, name)
        if not found.has_digests_of(entry):
            remedy = "Bring that version again with `matins models add`"
            raise Misconfigured(home, "", "is not what was trusted", remedy)
        place(arrived / name, models_folder, name, locks)
        write_entry(lock, name, entry)
    except OSError as error:
        raise Failed(f"{models_folder / name} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(arrived, ignore_errors=True)
    return entry


def promote(models_folder: Path, name: str, into: str, lock: Path, locks: Sequence[Path]) -> tuple[Entry, bool]:
    """Put the version that lies beside `into` under `name` in its place; it stays where it is too.

    Returns its entry in `lock`, and whether the version that was there is kept for `roll_back`.

    Raises:
        Misconfigured: its card is wrong, or files are missing.
        Failed: it is not what was trusted, or cannot be moved.
    """
    _, before = examine(models_folder, name)
    known = [entry for each in locks if (entry := read_lock(each).get(name)) and entry.has_digests_of(before)]
    trusted = known[0] if known else None
    if trusted is None:
        raise Failed(f"{name} is not what was trusted: look at it, then run `matins models trust {name}`")
    arrived = models_folder / f".arriving-{into}"
    try:
        shutil.rmtree(arrived, ignore_errors=True)
        arrived.mkdir(mode=0o700)
        shutil.copytree(models_folder / name, arrived / into)
        card = arrived / into / CARD
        card.write_text(renamed(card.read_text(encoding="utf-8"), into), encoding="utf-8")
        _, found = examine(arrived, into)
        if found.files != trusted.files:
            raise Failed(f"the files of {name} changed while it was put in place: try again")
        kept = place(arrived / into, models_folder, into, locks)
        entry = replace(found, own_code=trusted.own_code)
        write_entry(lock, into, entry)
    except OSError as error:
        raise Failed(f"{models_folder / into} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(arrived, ignore_errors=True)
    return entry, kept


def keep_card(arrived: Path, before: Path, version: str) -> None:
    """Give the new version the card of the one before, but for its version: its codes and conditions are the site's.

    Raises:
        Misconfigured: that card does not go with the new files.
    """
    text = (before / CARD).read_text(encoding="utf-8")
    written = f'version = "{version}"' if version and '"' not in version else ""
    (arrived / CARD).write_text(_VERSION.sub(lambda _: written, text, count=1) if written else text, encoding="utf-8")


def renamed(text: str, name: str, shadow_of: str = "") -> str:
    """Return a card's text for the same model under another name, beside `shadow_of` or in a place of its own.

    Raises:
        Failed: its name does not stand on a line of its own before the first table.
    """
    head, table, rest = text.partition("\n[")
    head = _SHADOW.sub("", head)
    line = f'name = "{name}"' + (f'\nshadow_of = "{shadow_of}"' if shadow_of else "")
    head, count = _NAME.subn(lambda _: line, head, count=1)
    if count != 1:
        raise Failed("the card's name does not stand on a line of its own: write it so, above the first table")
    return head + table + rest


def _keep(folder: Path, models_folder: Path, locks: Sequence[Path]) -> bool:
    name = folder.name
    try:
        _, found = examine(models_folder, name)
    except Misconfigured:
        return False
    entries = [entry for lock in locks if (entry := read_lock(lock).get(name)) and entry.has_digests_of(found)]
    if not entries:
        return False
    home = models_folder / PREVIOUS / name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, mode=0o700)
    folder.rename(home / _KEPT)
    write_entry(home / _LOCK, name, entries[0])
    return True
