"""Puts a question in a process of its own, and ends it when its time is up: a hung archive holds up nothing else."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from pydantic import ValidationError

from node.errors import Failed, Transient
from node.loop import Stop
from node.retrieve.question import Errand, Line, NotOffered, Reply, Tally

CHILD = (sys.executable, "-m", "node.retrieve.child")
_POLL_S = 0.05
#: How often it is looked whether objects have come.
_LOOK_S = 1.0
#: For the process to start, beside what the question may take.
_START_S = 10.0
#: From the request to end until SIGKILL: for C-CANCEL and its answer.
_CANCEL_S = 6.0
_LONGEST_REPLY_BYTES = 64 << 20


def ask(
    command: Sequence[str],
    errand: Errand,
    stop: Stop,
    alive: Callable[[], None],
    *,
    start_s: float = _START_S,
    heard: Callable[[Tally], None] = lambda _tally: None,
    stirs: Callable[[], bool] = lambda: False,
) -> Reply:
    """Run `command` with the errand on its standard input and return the reply that it prints.

    `alive` is called while it waits, `heard` with each progress. `stirs` says whether something came by another way
    since it was last called; the errand's silence is counted from then.

    Raises:
        Failed: the answer is that there is none; `NotOffered` where the peer does not offer the service.
        Transient: no answer now, or none in time, or the room is asked to end.
    """
    reply: Reply | None = None
    descriptor = os.memfd_create("errand")
    try:
        os.write(descriptor, errand.model_dump_json().encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        with subprocess.Popen(command, stdin=descriptor, stdout=subprocess.PIPE) as process:
            try:
                for line in _lines(process, errand, stop, alive, start_s, stirs):
                    if line.progress is not None:
                        heard(line.progress)
                    reply = line.reply or reply
            except ValidationError:
                process.kill()
            except BaseException:
                process.kill()
                raise
    finally:
        os.close(descriptor)
    if reply is None:
        raise Transient(f"the process that asks ended without a reply (exit code {process.returncode})")
    if not reply.failed:
        return reply
    if reply.again:
        raise Transient(reply.reason)
    raise Failed(reply.reason) if reply.offered else NotOffered(reply.reason)


def _lines(
    process: subprocess.Popen[bytes],
    errand: Errand,
    stop: Stop,
    alive: Callable[[], None],
    start_s: float,
    stirs: Callable[[], bool],
) -> Iterator[Line]:
    """Yield what it prints until it ends.

    Raises:
        Transient: its time is up, or the room ends.
        ValidationError: it prints something else.
    """
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    started_s = stirred_s = looked_s = time.monotonic()
    buffer = b""
    while True:
        alive()
        now_s = time.monotonic()
        if stop.is_set():
            _end(process)
            raise Transient("the room ends")
        if now_s - looked_s > _LOOK_S:
            looked_s = now_s
            stirred_s = now_s if stirs() else stirred_s
        limit_s = _over(errand, start_s, now_s - started_s, now_s - stirred_s)
        if limit_s:
            _end(process)
            raise Transient(f"no answer within {limit_s:g} s; the process that asks was killed")
        if not select.select([pipe], [], [], _POLL_S)[0]:
            continue
        piece = os.read(pipe, 1 << 16)
        *whole, buffer = (buffer + piece).split(b"\n")
        yield from (Line.model_validate_json(each) for each in whole)
        stirred_s = time.monotonic()
        if not piece or len(buffer) > _LONGEST_REPLY_BYTES:
            return


def _over(errand: Errand, start_s: float, elapsed_s: float, silent_s: float) -> float:
    """The limit that has been passed, seconds; 0 if none."""
    if elapsed_s > errand.limit_s + start_s:
        return errand.limit_s
    return errand.silence_s if silent_s > errand.silence_s + start_s else 0.0


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let it take leave of the archive, for a moment, then kill it."""
    process.terminate()
    try:
        process.wait(_CANCEL_S)
    except subprocess.TimeoutExpired:
        process.kill()
