"""Layouts of data sets: one module each, found by listing this folder.

Each declares `DESCRIPTION`, what it looks for in half a sentence; `recognises(path)`, which looks at names alone and
says in a few words why the layout fits, or nothing; and `open_at(path, wanted)`, which lists the cases without decoding
them, and puts what is wrong into the problems of what it returns.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Protocol, cast

from node.errors import Misconfigured
from node.learn.dataset.opened import Opened, Wanted


class Layout(Protocol):
    """What a module of this folder offers."""

    #: What is looked for, in half a sentence.
    DESCRIPTION: str

    @staticmethod
    def recognises(path: Path) -> str:
        """Why this layout fits the folder or file; empty: it does not."""
        ...

    @staticmethod
    def open_at(path: Path, wanted: Wanted) -> Opened:
        """List the cases.

        Raises:
            Misconfigured: there is nothing to list, or the task is none of this layout.
        """
        ...


def names() -> list[str]:
    """Names of the layouts, sorted."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def layout(name: str) -> Layout:
    """Return the layout of that name."""
    return cast(Layout, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


def fitting(path: Path) -> str:
    """Return the name of the one layout that fits.

    Raises:
        Misconfigured: none fits, or several do; says what was looked for.
    """
    if not path.exists():
        raise Misconfigured(path, "", "there is no such data set", "Name a folder or file that is there")
    reasons = {name: reason for name in names() if (reason := layout(name).recognises(path))}
    if len(reasons) == 1:
        return next(iter(reasons))
    if not reasons:
        looked_for = "".join(f"\n  {name}: {layout(name).DESCRIPTION}" for name in names())
        raise Misconfigured(path, "", "no layout of a data set fits", f"Looked for:{looked_for}")
    found = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise Misconfigured(path, "", f"several layouts fit ({found})", "Name the file itself, or leave only one there")
