"""`models live`, `shadow`, `off` and `rollback`: how far a model may speak, and which version of it."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from node.catalogue import Model
from node.catalogue.lock import read_lock
from node.catalogue.versions import roll_back
from node.commands.output import say
from node.config import Settings
from node.domain.model_card import Mode
from node.errors import Failed, Misconfigured
from node.store.files import write_durably
from node.workflow.policy import locks, models_of

_RESTART = "Rooms read this when they start: restart them"


def set_mode(settings: Settings, file: Path, name: str, mode: Mode) -> None:
    """Write `[models.NAME] mode` into the settings `file`, and leave everything else in it as it stands.

    Raises:
        Misconfigured: there is no such model.
        Failed: the model cannot run, or the file cannot be written.
    """
    model = model_named(settings, name)
    if mode is not Mode.OFF and model.problem:
        raise Failed(f"{name} cannot run: {model.problem}")
    if mode is Mode.LIVE and model.card.shadow_of:
        beside = model.card.shadow_of
        raise Failed(f"{name} is a version of {beside} that waits: `matins models promote {name}` puts it in its place")
    instead = f'write this there yourself: [models.{name}] mode = "{mode}"'
    try:
        before = file.read_text(encoding="utf-8")
        after = with_mode(before, name, mode)
        if after is None:
            raise Failed(f"{file} is written in a way that is not changed by a program: {instead}")
        if after != before:
            target = file.resolve()
            write_durably(target, after.encode(), mode=stat.S_IMODE(target.stat().st_mode))
    except OSError as error:
        raise Failed(f"{file} cannot be written ({error.strerror}): {instead}") from error
    say(f"{name} is {mode} in {file}. {_RESTART}")


def with_mode(text: str, name: str, mode: Mode) -> str | None:
    """Return the settings with the model's mode in them, comments kept; `None` where that cannot be done safely."""
    header = re.compile(rf'^[ \t]*\[[ \t]*models[ \t]*\.[ \t]*"?{re.escape(name)}"?[ \t]*\][ \t]*(#.*)?$', re.MULTILINE)
    found = header.search(text)
    if found is None:
        gap = "" if text.endswith("\n\n") or not text else "\n" if text.endswith("\n") else "\n\n"
        after = f'{text}{gap}[models.{name}]\nmode = "{mode}"\n'
    else:
        end = re.compile(r"^[ \t]*\[", re.MULTILINE).search(text, found.end())
        stop = end.start() if end else len(text)
        table = text[found.end() : stop]
        line = re.compile(r'^([ \t]*mode[ \t]*=[ \t]*)"[^"\n]*"', re.MULTILINE)
        changed, count = line.subn(rf'\g<1>"{mode}"', table, count=1)
        after = text[: found.end()] + (changed if count else f'\nmode = "{mode}"{table}') + text[stop:]
    return after if _is_only_change(text, after, name, mode) else None


def go_back(settings: Settings, name: str) -> None:
    """Put the version before in the place of the model, trusted as it was.

    Raises:
        Misconfigured: there is none, or it is not what was trusted.
        Failed: it cannot be written.
    """
    models, known = settings.catalogue.models_folder, locks(settings)
    lock = next((lock for lock in known if name in read_lock(lock)), known[0])
    try:
        entry = roll_back(models, name, lock, known)
    except OSError as error:
        raise Failed(f"{lock} cannot be written: {error.strerror}") from error
    version = model_named(settings, name).card.version
    say(f"{name} is version {version} again ({entry.model_digest[:16]}), as it was trusted. {_RESTART}")


def model_named(settings: Settings, name: str) -> Model:
    """Return the model of that name.

    Raises:
        Misconfigured: there is none, or its card is wrong.
    """
    models, problems = models_of(settings)
    for model in models:
        if model.card.name == name:
            return model
    wrong = next((problem for problem in problems if Path(problem.file).parent.name == name), None)
    if wrong is not None:
        raise wrong
    there = ", ".join(model.card.name for model in models) or "none"
    raise Misconfigured(settings.catalogue.models_folder, name, "there is no such model", f"There are: {there}")


def _is_only_change(before: str, after: str, name: str, mode: Mode) -> bool:
    """Whether the new text means the old with this one value changed: no line of text was taken for a table."""
    try:
        expected: dict[str, Any] = tomllib.loads(before)
        found = tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        return False
    section = expected.setdefault("models", {}).setdefault(name, {})
    section["mode"] = mode.value
    return json.dumps(found, sort_keys=True, default=str) == json.dumps(expected, sort_keys=True, default=str)
