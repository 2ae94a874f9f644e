"""The parent's side of the describing child: hands it jobs, and finds out which one it died of."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog
from pydantic import ValidationError

from node.errors import Transient
from node.receive.protocol import ANSWER, JOB, READY, Answer, Job

#: The child ends itself after `limit_s`; if it cannot, it is killed so much later.
_GRACE_S = 5.0
_START_S = 60.0
_PIPE_BYTES = 1 << 16

log = structlog.get_logger()


class HeaderReader:
    """One describing child at a time, started anew after each death."""

    def __init__(self, memory_bytes: int, limit_s: float) -> None:
        # Threads of a library that multiplies matrices would take memory and do nothing here; and what one image
        # needed goes back to the system, instead of counting against the next one.
        self._command = (
            *("env", "OPENBLAS_NUM_THREADS=1", "MALLOC_ARENA_MAX=1", "MALLOC_MMAP_THRESHOLD_=1048576"),
            *(sys.executable, "-m", "node.receive.describer", str(memory_bytes), str(limit_s)),
        )
        self._limit_s = limit_s
        self._child: subprocess.Popen[bytes] | None = None
        self._unread = b""

    def __enter__(self) -> Self:
        """Start the child at once: its libraries take a moment."""
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child."""
        self._end()

    def read(self, jobs: Sequence[Job]) -> Generator[Answer, None, None]:
        """Answer every job, in order. The jobs of one call fit into a pipe: some hundred at most.

        The child answers in order, so the job that it died of is the first without an answer. That one is tried
        alone, then without decoding its pixels, and is undescribable if the child dies of its header too.

        Raises:
            Transient: the child does not start.
        """
        asked = False
        for start in range(len(jobs)):
            if not asked:
                self._ask(jobs[start:])
                asked = True
            answer = self._answer()
            if not isinstance(answer, Answer):
                answer, asked = self._alone(jobs[start], answer), False
            try:
                yield answer
            except GeneratorExit:
                # What it still answers belongs to nobody.
                self._end()
                raise

    def _alone(self, job: Job, death: str) -> Answer:
        """Try a job that a child has died of."""
        log.warning("describer_died", instance=job.id, reason=death)
        tries = [replace(job, undecodable=death)]
        if death.startswith("killed"):
            tries.insert(0, job)
        for attempt in tries:
            self._ask([attempt])
            answer = self._answer()
            if isinstance(answer, Answer):
                return answer
            log.warning("describer_died", instance=job.id, reason=answer)
            death = answer
        return Answer(id=job.id, undescribable=f"reading the header: {death}")

    def _ask(self, jobs: Sequence[Job]) -> None:
        if self._child is None:
            self._start()
        child = self._child
        assert child is not None
        assert child.stdin is not None
        # A dead child is found out when its answer is missing.
        with suppress(BrokenPipeError):
            child.stdin.write(b"".join(JOB.dump_json(job) + b"\n" for job in jobs))
            child.stdin.flush()

    def _answer(self) -> Answer | str:
        """The next answer, or how the child died."""
        line = self._line(self._limit_s + _GRACE_S)
        if line:
            try:
                return ANSWER.validate_json(line)
            except ValidationError:
                self._end()
                return "the child answered nonsense"
        return self._end(too_late=line is None)

    def _line(self, patience_s: float) -> bytes | None:
        """One line of the child; empty if it died, `None` if it said nothing for too long."""
        assert self._child is not None
        assert self._child.stdout is not None
        descriptor = self._child.stdout.fileno()
        deadline_s = time.monotonic() + patience_s
        while b"\n" not in self._unread:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline_s - time.monotonic()))
            if not ready:
                return None
            got = os.read(descriptor, _PIPE_BYTES)
            if not got:
                return b""
            self._unread += got
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _start(self) -> None:
        self._unread = b""
        self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self._line(_START_S)
        if line != READY.rstrip():
            raise Transient(f"the describing child does not start: {self._end(too_late=line is None)}")

    def _end(self, *, too_late: bool = False) -> str:
        """End the child, if it has not ended, and say how it went."""
        child, self._child = self._child, None
        if child is None:
            return ""
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(BrokenPipeError):
            child.stdin.close()
        child.stdout.close()
        if too_late:
            child.kill()
        try:
            code = child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        if too_late or code == -signal.SIGALRM:
            return f"took longer than {self._limit_s:g} s"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
