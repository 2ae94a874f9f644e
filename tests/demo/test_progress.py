from __future__ import annotations

from io import BytesIO, StringIO, TextIOWrapper

import pytest
from rich.console import Console

from node.demo.progress import Shown


def printed(*, terminal: bool) -> tuple[Shown, StringIO]:
    stream = StringIO()
    return Shown(Console(file=stream, force_terminal=terminal, width=60)), stream


def test_lines_are_printed_as_they_are_and_never_broken() -> None:
    shown, stream = printed(terminal=False)
    text = "[bold]/a/long/path " + "x" * 200 + " :smile: 100"
    shown.say(text, bold=True)
    assert stream.getvalue() == text + "\n"


def test_a_console_that_knows_ascii_alone_gets_question_marks() -> None:
    stream = TextIOWrapper(content := BytesIO(), "ascii", write_through=True)
    Shown(Console(file=stream)).say("“189 × 197”")
    assert content.getvalue() == b"?189 ? 197?\n"


def test_a_note_starts_with_the_seconds_passed() -> None:
    shown, stream = printed(terminal=False)
    shown.note("ready")
    seconds, unit, text = stream.getvalue().split()
    assert (float(seconds) >= 0, unit, text) == (True, "s", "ready")


def test_elsewhere_than_on_a_terminal_nothing_moves() -> None:
    shown, stream = printed(terminal=False)
    with shown.counting("sending") as count:
        count(1, 2)
    with shown.waiting() as show:
        show("waiting for 2 more")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("what", ["counting", "waiting"])
def test_on_a_terminal_progress_is_shown(what: str) -> None:
    shown, stream = printed(terminal=True)
    if what == "counting":
        with shown.counting("sending routine") as count:
            count(1, 2)
            count(2, 2)
    else:
        with shown.waiting() as show:
            show("sending routine")
    assert "sending routine" in stream.getvalue()
