"""Ways in, one file each, found by listing this folder.

An intake is a module with

    NAME: str                                           how it is called in the log
    def start(settings: Settings, db: Database, spool: Spool, clock: Clock) -> Running | None

`start` opens whatever it listens on and returns what is running, or `None` where it does its work only when asked (the
folder intake). All of them hand what they get to `node.receive.arrival.arrive`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol, cast

from node.config import Settings
from node.domain.time import Clock
from node.store.database import Database
from node.store.spool import Spool


class Running(Protocol):
    """An intake at work."""

    #: Where it listens, for people.
    where: str

    def is_alive(self) -> bool:
        """Whether it still takes anybody in."""
        ...

    def stop(self, drain_s: float) -> None:
        """Take nobody new, let those inside finish for `drain_s` seconds, then close."""
        ...


class Intake(Protocol):
    """A module of this folder."""

    NAME: str

    def start(self, settings: Settings, db: Database, spool: Spool, clock: Clock) -> Running | None:
        """Open it.

        Raises:
            Misconfigured: it cannot listen where the settings say.
        """
        ...


def intakes() -> list[Intake]:
    """Every intake there is, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [cast("Intake", importlib.import_module(f"{__name__}.{name}")) for name in names]
