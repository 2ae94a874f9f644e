"""What the demo shows while it goes on: bars and a moving line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class Shown:
    """Lines on a console, with the seconds since the night began where that matters."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()

    def say(self, text: str = "", *, bold: bool = False) -> None:
        """Print `text` as it is; what the console cannot write becomes a question mark."""
        style = "bold" if bold else None
        encoding = self._console.encoding
        writable = text.encode(encoding, "replace").decode(encoding)
        self._console.print(writable, style=style, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print one line with the time that has passed."""
        self.say(f"{time.monotonic() - self._began_s:6.1f} s  {text}")

    @contextmanager
    def counting(self, text: str) -> Iterator[Callable[[int, int], None]]:
        """Give what is to be called with (done, all); a bar on a terminal, nothing elsewhere."""
        if not self._console.is_terminal:
            yield lambda _done, _total: None
            return
        columns = (TextColumn("          {task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(text, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        """Give what is to be called with the present state; a moving line on a terminal, nothing elsewhere."""
        if not self._console.is_terminal:
            yield lambda _text: None
            return
        with self._console.status("", spinner="dots") as line:
            yield lambda text: line.update(f"[dim]{text}[/dim]")
