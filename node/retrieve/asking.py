"""Puts a question in a process of its own, and ends it when its time is up: a hung archive holds up nothing else."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from pydantic import ValidationError

from node.errors import Failed, Transient
from node.loop import Stop
from node.retrieve.question import Question, Reply

_POLL_S = 0.02
#: For the process to start, beside what the question may take.
_START_S = 10.0
_LONGEST_REPLY_BYTES = 65536


def ask(
    command: Sequence[str], question: Question, stop: Stop, alive: Callable[[], None], *, start_s: float = _START_S
) -> int:
    """Run `command` with the question on its standard input and return the count that it prints.

    `alive` is called while it waits.

    Raises:
        Failed: the answer is that there is none.
        Transient: no answer now, or none in time, or the room is asked to end.
    """
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(question.model_dump_json().encode())
            _wait(process, question.limit_s + start_s, stop, alive)
            reply = process.stdout.read(_LONGEST_REPLY_BYTES)
        except BaseException:
            process.kill()
            raise
    try:
        answered = Reply.model_validate_json(reply)
    except ValidationError:
        raise Transient(f"the process that asks ended without a reply (exit code {process.returncode})") from None
    if answered.count is not None:
        return answered.count
    raise Transient(answered.reason) if answered.again else Failed(answered.reason)


def _wait(process: subprocess.Popen[bytes], limit_s: float, stop: Stop, alive: Callable[[], None]) -> None:
    deadline_s = time.monotonic() + limit_s
    while process.poll() is None:
        alive()
        if stop.wait(_POLL_S):
            raise Transient("the room ends")
        if time.monotonic() > deadline_s:
            raise Transient(f"no answer within {limit_s:g} s; the process that asks was killed")
