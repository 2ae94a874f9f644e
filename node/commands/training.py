"""`train`: what is told while a training goes on, on a terminal and elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from node.commands.output import say
from node.learn.fitting import Epoch, Listener

#: Seconds between two lines within an epoch, where there is no terminal.
_PATIENCE_S = 60.0


@contextmanager
def listening() -> Iterator[Callable[[str], Listener]]:
    """Give what makes a listener for one training by its name: a bar on a terminal, a line an epoch elsewhere."""
    if not sys.stdout.isatty():
        yield _Lines
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as shown:

        def bar(name: str) -> Listener:
            task = shown.add_task(name, total=None)
            done = 0

            def hear(told: Epoch | tuple[int, int]) -> None:
                nonlocal done
                if isinstance(told, Epoch):
                    done = told.number
                    shown.update(task, total=told.of, completed=done, description=f"{name}: {_figures(told)}")
                else:
                    # An epoch may take an hour: the bar grows within it, too.
                    shown.update(task, completed=done + told[0] / told[1])

            return hear

        yield bar


class _Lines:
    """A line an epoch, and where an epoch is long, one a minute."""

    def __init__(self, name: str) -> None:
        self._name, self._told_at = name, time.monotonic()

    def __call__(self, told: Epoch | tuple[int, int]) -> None:
        """Say it."""
        if isinstance(told, Epoch):
            say(f"{self._name}: epoch {told.number} of {told.of}, {_figures(told)}, {told.seconds:.0f} s")
        elif time.monotonic() - self._told_at < _PATIENCE_S:
            return
        else:
            say(f"{self._name}: batch {told[0]} of {told[1]}")
        self._told_at = time.monotonic()


def _figures(told: Epoch) -> str:
    return ", ".join([f"loss {told.loss:.4f}", *(f"{name} {value:.4f}" for name, value in told.figures.items())])
