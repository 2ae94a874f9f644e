"""`learning collect` and `learning leaks`: studies taken for training, and who can be told from a folder."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from node.commands.output import print_json, say, table
from node.commands.site import opened
from node.config import Settings
from node.errors import Failed
from node.store.files import write_durably
from node.store.pseudonym_key import pseudonym_key
from node.store.spool import Spool
from node.workflow.policy import load_policy
from node.workflow.story import find_study

if TYPE_CHECKING:
    from node.learn.deidentify.choosing import Labels
    from node.learn.deidentify.collecting import Collected
    from node.learn.deidentify.profile import Options

#: Below the data folder.
_SHEET = Path("learning", "burned-in.png")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for on the command line."""

    target: Path
    studies: tuple[str, ...]
    model: str
    since: str
    options: Options
    word: str
    sheet: Path | None
    dry_run: bool


def collect(settings: Settings, asked: Asked, *, as_json: bool) -> None:
    """Write a data set of studies, de-identified.

    Raises:
        Failed: the day is none, nothing is to be taken, or as `node.learn.deidentify.collecting.collect`.
    """
    from node.learn.deidentify import collecting
    from node.learn.deidentify.choosing import Chosen, LeftOut, choose
    from node.learn.deidentify.identities import Sought
    from node.learn.deidentify.leaks import identities, identity_of
    from node.learn.deidentify.pseudonyms import Pseudonyms

    _check_day(asked.since)
    with opened(settings) as db:
        named = [find_study(db, each) for each in asked.studies]
        labels = _labels(settings)
        every = list(choose(db, named=named, model=asked.model, since=asked.since, labels=labels))
        wish = collecting.Wish(
            chosen=[each for each in every if isinstance(each, Chosen)],
            target=asked.target,
            options=asked.options,
            word=asked.word,
            identity_of=lambda uid: identity_of(db, uid),
            everybody=Sought(identities(db)),
        )
        pseudonyms, spool = Pseudonyms(pseudonym_key(db.folder)), Spool(db.folder)
        if asked.dry_run or not wish.chosen:
            found = collecting.look(spool, wish, pseudonyms)
        else:
            found = collecting.collect(spool, wish, pseudonyms)
        found.left_out[:0] = [each for each in every if isinstance(each, LeftOut)]
        sheet = _write_sheet(asked, db.folder, found) if found.held_back and not (asked.dry_run or asked.word) else None
    _tell(asked, found, sheet, chosen=len(wish.chosen), as_json=as_json)
    if not wish.chosen:
        raise Failed("there is nothing to take: no feedback stands, or nothing of it can be used")


def leaks(settings: Settings, target: Path, *, as_json: bool) -> None:
    """Print which files of a folder tell of somebody whose studies are held here; ends with exit code 1 if one does.

    Raises:
        Failed: there is no such folder.
    """
    from node.learn.deidentify.identities import Sought
    from node.learn.deidentify.leaks import identities
    from node.learn.deidentify.leaks import leaks as look_through

    with opened(settings) as db:
        sought = Sought(identities(db))
    found = look_through(target, sought)
    if as_json:
        print_json({"leaks": [{"file": each.file, "kinds": [kind.value for kind in each.kinds]} for each in found]})
    elif found:
        table(("file", "tells"), [(each.file, ", ".join(each.kinds)) for each in found])
    else:
        say(f"nobody whose studies are held here can be told from {target}")
    if found:
        raise typer.Exit(1)


def _labels(settings: Settings) -> Labels:
    return {
        (model.card.name, target.code.scheme, target.code.value): target.label
        for model in load_policy(settings).models
        for target in model.card.targets
    }


def _check_day(since: str) -> None:
    try:
        if since:
            date.fromisoformat(since)
    except ValueError:
        raise Failed(f"--since {since!r} is no day: 2026-01-31") from None


def _write_sheet(asked: Asked, folder: Path, found: Collected) -> Path:
    """Draw what is held back, for its owner alone to read; never into the data set."""
    from node.learn.deidentify.sheet import sheet

    path = asked.sheet or folder / _SHEET
    if asked.target.resolve() in (path.resolve(), *path.resolve().parents):
        raise Failed("the sheet shows what must not leave: it does not go into the data set")
    held = [(f"{number}", risk) for number, (_, _, risk) in enumerate(found.held_back, 1)]
    write_durably(path, sheet(held, found.word), mode=0o600)
    return path


def _tell(asked: Asked, found: Collected, sheet: Path | None, *, chosen: int, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "folder": None if asked.dry_run else str(asked.target),
                "series": found.series,
                "images": found.images,
                "segmentations": found.segmentations,
                "labels": len(found.labels),
                "held_back": [
                    {"study_instance_uid": study, "series_instance_uid": series, "reasons": list(risk.reasons)}
                    for study, series, risk in found.held_back
                ],
                "left_out": [
                    {"study_instance_uid": each.study_instance_uid, "reason": each.reason} for each in found.left_out
                ],
                "sheet": str(sheet) if sheet else None,
            }
        )
        return
    for each in found.left_out:
        say(f"left out {each.study_instance_uid}: {each.reason}")
    for number, (study, series, risk) in enumerate(found.held_back, 1):
        word = "taken, somebody has looked" if asked.word else "held back"
        say(f"{word} {number}: {study}, series {series}: {'; '.join(risk.reasons)}")
    if sheet:
        say(f"look at {sheet}; if nobody can be told from it, --accept-burned-in with the word below the last picture")
    if asked.dry_run:
        say(f"{chosen} results or series would be looked at; nothing was written")
    elif chosen:
        of = f"{found.images} images, {found.segmentations} segmentations, {len(found.labels)} labels"
        say(f"{found.series} series ({of}) in {asked.target}; `matins learning leaks` looks through it again")
