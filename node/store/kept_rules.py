"""Copies of the rule files that are in force, in the data folder: what a broken file falls back on after a restart."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from node.store.files import write_durably

_FOLDER = "rules_in_force"


def keep(data_folder: Path, name: str, content: bytes) -> None:
    """Keep one file, durably; nothing is written where the copy says the same."""
    path = data_folder / _FOLDER / name
    if not path.is_file() or path.read_bytes() != content:
        write_durably(path, content)


def kept(data_folder: Path, name: str) -> str | None:
    """The last good text of a file, if there is one."""
    try:
        return (data_folder / _FOLDER / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def forget_others(data_folder: Path, names: Collection[str]) -> None:
    """Forget the copies of files that are not among `names`: a rule that was taken away does not come back."""
    folder = data_folder / _FOLDER
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name not in names:
                path.unlink(missing_ok=True)
