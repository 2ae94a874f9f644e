"""Data sets: found on disk in the layouts that people keep them in, looked through, and told of before a training."""

from __future__ import annotations

from pathlib import Path

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn.dataset import layouts
from node.learn.dataset.opened import Opened, Wanted
from node.learn.dataset.problems import refuse

__all__ = ["list_dataset", "open_dataset"]


def list_dataset(path: Path, task: Task | None = None, classes: tuple[str, ...] = ()) -> Opened:
    """List the cases of a data set, with what is wrong already; nothing is decoded.

    Raises:
        Misconfigured: no layout fits, or several do, or there are no cases; says what was looked for.
    """
    # Only the last part of a path is its name, and "." has none.
    path = path.resolve()
    name = layouts.fitting(path)
    found = layouts.layout(name).open_at(path, Wanted(task=task, classes=tuple(classes)))
    if not found.cases and not found.problems:
        raise Misconfigured(path, "", f"there is no case in it (read as {name})", "Name another folder or file")
    return found


def open_dataset(path: Path, task: Task | None = None, classes: tuple[str, ...] = ()) -> Opened:
    """Open a data set whose every case has a file and a label; `survey` decodes them all and sees the rest.

    Raises:
        Misconfigured: no layout fits, or several do, or cases lack what their task needs; all of it, by name.
    """
    found = list_dataset(path, task, classes)
    refuse(found.source, found.problems)
    return found
