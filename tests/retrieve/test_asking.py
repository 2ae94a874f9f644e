from __future__ import annotations

import sys
import time

import pytest

from node.errors import Failed, Transient
from node.loop import Stop
from node.retrieve.asking import ask
from node.retrieve.question import NotOffered, Question, Reply, Tally, Transfer, Way
from tests.fakes import STUDY
from tests.retrieve.test_dicom_query import question


def asking(program: str, stop: Stop | None = None, start_s: float = 60.0) -> Reply:
    asked: Question = question(1, connect_s=0.1, answer_s=0.1)
    return ask((sys.executable, "-c", program), asked, stop or Stop(), lambda: None, start_s=start_s)


def said(reply: str) -> str:
    return f"print('{{\"reply\": {reply}}}')"


def test_a_count_comes_back() -> None:
    assert asking(said('{"count": 7}')).count == 7


def test_the_errand_reaches_the_process() -> None:
    program = "import json, sys; print(json.dumps({'reply': {'count': json.load(sys.stdin)['port']}}))"
    assert asking(program).count == 1


def test_a_reply_longer_than_any_pipe_comes_back_whole() -> None:
    listed = "[{'series_instance_uid': '1.2', 'sop_instance_uid': f'1.2.{n}'} for n in range(20000)]"
    program = f"import json; print(json.dumps({{'reply': {{'contents': {listed}}}}}))"
    contents = asking(program).contents
    assert contents is not None
    assert len(contents) == 20000


@pytest.mark.parametrize(
    ("more", "error"), [('"again": true', Transient), ('"again": false', Failed), ('"offered": false', NotOffered)]
)
def test_the_process_says_whether_asking_again_makes_sense(more: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="because") as caught:
        asking(said(f'{{"failed": true, "reason": "because", {more}}}'))
    assert type(caught.value) is error


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


def transfer(*, longest_s: float, silence_s: float) -> Transfer:
    return Transfer(
        peer="SCANNER",
        their_ae_title="A",
        our_ae_title="MATINS",
        connect_s=1,
        answer_s=1,
        study_instance_uid=STUDY,
        way=Way.MOVE,
        portions=(),
        our_port=1,
        maximum_bytes=1,
        minimum_free_percent=0,
        longest_s=longest_s,
        longest_silence_s=silence_s,
    )


SLOW = """
import time
for number in range(9):
    print('{"progress": {"completed": %d}}' % number, flush=True)
    time.sleep(0.4)
print('{"reply": {"count": 1}}')
"""


def test_whoever_is_slow_but_says_so_is_waited_for() -> None:
    heard: list[Tally] = []
    program = (sys.executable, "-c", SLOW)
    errand = transfer(longest_s=60, silence_s=2.5)
    reply = ask(program, errand, Stop(), lambda: None, start_s=0.5, heard=heard.append)
    assert reply.count == 1
    assert [tally.completed for tally in heard] == list(range(9))


def test_objects_that_come_by_another_way_are_a_sign_of_life() -> None:
    looks = []

    def stirs() -> bool:
        looks.append(time.monotonic())
        return len(looks) < 3

    program = (sys.executable, "-c", "import time; time.sleep(3600)")
    with pytest.raises(Transient, match=r"no answer within 1\.5 s"):
        ask(program, transfer(longest_s=60, silence_s=1.5), Stop(), lambda: None, start_s=0.1, stirs=stirs)
    assert len(looks) >= 3


def test_a_process_is_asked_to_take_its_leave_before_it_is_killed() -> None:
    program = "import signal, time; signal.signal(15, lambda *_: print('{', flush=True) or exit(0)); time.sleep(3600)"
    with pytest.raises(Transient, match="was killed"):
        asking(program, start_s=1.0)
