"""Ports that a test opens with settings of its own; each is shut with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from node.config import Settings
from node.receive.keeper import Keeper


class Running(Protocol):
    """What runs until it is stopped."""

    def stop(self, grace_s: float) -> None:
        """Take no more, and wait so long for what is under way."""


Port = TypeVar("Port", bound=Running)


@contextmanager
def opening(
    start: Callable[[Settings, Keeper], object], kind: type[Port], keeper: Keeper
) -> Iterator[Callable[[Settings], Port]]:
    """Give what opens the port of an intake."""
    running: list[Port] = []

    def open_with(settings: Settings) -> Port:
        made = start(settings, keeper)
        assert isinstance(made, kind)
        running.append(made)
        return made

    yield open_with
    for each in running:
        each.stop(0.0)
