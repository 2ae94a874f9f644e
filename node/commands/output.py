"""What commands print: one JSON document, or lines for people; nothing that a peer sent may move the cursor."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

#: Controls, line separators, and marks that turn the direction of text.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def print_json(document: object) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(document, indent=2, ensure_ascii=not _speaks_utf8()), flush=True)


def say(text: str = "") -> None:
    """Print lines for people, made safe."""
    for line in text.split("\n"):
        _print(plain(line))


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on a terminal, and lines with tabs between the columns elsewhere."""
    cells = [[plain(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in [list(headings), *cells]:
            _print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        drawn.add_column(heading, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(drawn)


@contextmanager
def progress(what: str, count: Callable[[], int] | None = None) -> Iterator[Callable[[], None]]:
    """Show how many of something are done: a running count on a terminal, a line a thousand elsewhere.

    With `count`, which says how many there are and is asked on a terminal alone, a bar.
    """
    if not sys.stdout.isatty():
        yield _lines(what)
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    total = count() if count else None
    many = f" of {total} {what}" if total is not None else f" {what}"
    bar = (BarColumn(), TimeRemainingColumn()) if total is not None else (TimeElapsedColumn(),)
    with Progress(SpinnerColumn(), TextColumn("{task.completed}" + many), *bar, transient=True) as shown:
        task = shown.add_task(what, total=total)
        yield lambda: shown.advance(task)


def _print(line: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "replace").decode(encoding), flush=True)


def _lines(what: str) -> Callable[[], None]:
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if done % 1000 == 0:
            say(f"{done} {what}")

    return advance


def plain(text: str) -> str:
    r"""Return `text` with everything that is no plain character of one line as `\x1b`."""
    return _UNSAFE.sub(lambda found: found.group().encode("unicode_escape", "surrogatepass").decode(), text)


def person(study: dict[str, Any]) -> str:
    """Name, age and sex of a told study's patient, in one cell."""
    name = " ".join(part for part in str(study["patient_name"]).replace("^", " ").split() if part) or "(no name)"
    age = study["patient_age_years"]
    more = [f"{age:.0f} y" if age is not None else "", study["patient_sex"]]
    return ", ".join(part for part in (name, *more) if part)


def _speaks_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
