"""Kinds of route: one module a kind, found by listing this folder.

Each declares `KIND`, its own module name; `check(route)`, which raises where its files are not as they have to be;
`message(route, letter)`, the whole message of one notice, made once and then sent as it is; and `opened(route,
patience)`, which holds a connection that sends messages and waits for what the receiver says. What of the patient a
route may say has been taken out of the letter before a kind sees it.
"""

from __future__ import annotations

import importlib
import pkgutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Protocol, cast

from node.config import DeliverSettings, Route
from node.domain.notice import Flag


class Heard(StrEnum):
    """What a receiver says of a message."""

    #: It has it.
    ACKNOWLEDGED = "acknowledged"
    #: It has a fault for now: this and all else waits.
    AGAIN = "again"
    #: It does not take this one; tried again slowly, dead after the last time.
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of sending one message; `reason` is in words of ours, never in the receiver's."""

    heard: Heard
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One notice, as far as its route may say it."""

    flag: Flag
    control_id: str
    filler_number: str
    #: 1 is the first of its study.
    version: int
    #: When it leaves for the first time; aware, UTC.
    at: datetime
    because: str = ""
    #: Address of the study's page, or empty.
    link: str = ""
    #: The message that left last of this study by this route.
    told: bytes | None = None
    #: It is made up, to try the route.
    trial: bool = False


class Receiver(Protocol):
    """An open connection to a receiver."""

    def send(self, message: bytes, control_id: str, at: datetime) -> Reply:
        """Send one message and wait for what is said of it.

        Raises:
            Lost: no answer came; it may have the message or not.
            Unreachable: it lets nobody in.
        """
        ...


class RouteKind(Protocol):
    """What a module of this folder offers."""

    KIND: str

    def check(self, route: Route) -> None:
        """Look at what the route names: files, templates.

        Raises:
            Misconfigured: with the file, the key and the remedy.
        """
        ...

    def message(self, route: Route, letter: Letter) -> bytes:
        """The message of one notice; the same letter gives the same bytes.

        Raises:
            Misconfigured: a file that it is made of is not as it has to be.
            Unsuitable: this study cannot be told by this route, with the reason.
        """
        ...

    def opened(self, route: Route, patience: DeliverSettings) -> AbstractContextManager[Receiver]:
        """Hold a connection.

        Raises (on entering):
            Unreachable: nobody answers, or nobody is let in.
        """
        ...

    def limit_s(self, route: Route, patience: DeliverSettings) -> float:
        """How long opening, and one message, may take each, seconds."""
        ...


@cache
def kinds() -> dict[str, RouteKind]:
    """Every kind of route by its name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [cast(RouteKind, importlib.import_module(f"{__name__}.{name}")) for name in names]
    return {module.KIND: module for module in modules}


def kind_of(route: Route) -> RouteKind | None:
    """The kind of a route, if this version has it; only its own module is loaded."""
    names = {module.name for module in pkgutil.iter_modules(__path__)}
    return cast(RouteKind, importlib.import_module(f"{__name__}.{route.kind}")) if route.kind in names else None
