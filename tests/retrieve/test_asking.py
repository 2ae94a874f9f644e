from __future__ import annotations

import sys

import pytest

from node.errors import Failed, Transient
from node.loop import Stop
from node.retrieve.asking import ask
from node.retrieve.question import Question
from tests.retrieve.test_dicom_query import question


def asking(program: str, stop: Stop | None = None, start_s: float = 60.0) -> int:
    asked: Question = question(1, connect_s=0.1, answer_s=0.1)
    return ask((sys.executable, "-c", program), asked, stop or Stop(), lambda: None, start_s=start_s)


def test_a_count_comes_back() -> None:
    assert asking("""print('{"count": 7}')""") == 7


def test_the_question_reaches_the_process() -> None:
    assert asking("import json, sys; print(json.dumps({'count': json.load(sys.stdin)['port']}))") == 1


@pytest.mark.parametrize(("again", "error"), [("true", Transient), ("false", Failed)])
def test_the_process_says_whether_asking_again_makes_sense(again: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="because"):
        asking(f"""print('{{"reason": "because", "again": {again}}}')""")


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "print('what?')", "import os; os.kill(os.getpid(), 9)"])
def test_a_process_that_dies_or_babbles_is_asked_again(program: str) -> None:
    with pytest.raises(Transient, match="without a reply"):
        asking(program)


def test_a_process_that_hangs_is_killed_when_its_time_is_up() -> None:
    with pytest.raises(Transient, match="was killed"):
        asking("import time; time.sleep(3600)", start_s=0.1)


def test_a_stop_ends_the_question() -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(Transient, match="the room ends"):
        asking("import time; time.sleep(3600)", stop)
