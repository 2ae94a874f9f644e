"""The room's side of the process that reads documents: asks it, and tells what became of it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

import structlog
from pydantic import ValidationError

from node.domain.prior_document import PriorDocument
from node.errors import Failed, Transient
from node.report.priors.messages import ANSWER, QUESTION, READY, Question

#: Memory that it may write to, bytes, and seconds for one object.
MEMORY_BYTES = 512 << 20
LIMIT_S = 30.0
#: The process ends itself after the limit; if it cannot, it is killed so much later.
_GRACE_S = 5.0
_START_S = 60.0
_PIPE_BYTES = 1 << 16
_LONGEST_ANSWER = 16 << 20

log = structlog.get_logger()


class DocumentReader:
    """One such process at a time: started when it is first needed, and anew after each death."""

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, limit_s: float = LIMIT_S) -> None:
        # What one object needed goes back to the system, instead of counting against the next one.
        self._command = (
            *("env", "OPENBLAS_NUM_THREADS=1", "MALLOC_ARENA_MAX=1", "MALLOC_MMAP_THRESHOLD_=1048576"),
            *(sys.executable, "-m", "node.report.priors.child", str(memory_bytes), str(limit_s)),
        )
        self._limit_s = limit_s
        self._child: subprocess.Popen[bytes] | None = None
        self._unread = b""

    def read(self, question: Question) -> PriorDocument:
        """Return what an object says.

        Raises:
            Failed: it cannot be read, or the process died of it; the reason says which.
            Transient: the process does not start.
        """
        child = self._started()
        assert child.stdin is not None
        with suppress(BrokenPipeError):
            child.stdin.write(QUESTION.dump_json(question, exclude_defaults=True) + b"\n")
            child.stdin.flush()
        line = self._line(self._limit_s + _GRACE_S)
        if not line:
            raise Failed(f"reading it: {self._end(too_late=line is None)}")
        try:
            answer = ANSWER.validate_json(line)
        except ValidationError:
            self._end(too_late=True)
            raise Failed("the process that reads it answered nonsense") from None
        if answer.document is None:
            raise Failed(answer.unreadable)
        return answer.document

    def close(self) -> None:
        """End the process."""
        self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            self._unread = b""
            self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            line = self._line(_START_S)
            if line != READY.rstrip():
                raise Transient(f"the process that reads documents does not start: {self._end(too_late=line is None)}")
        return self._child

    def _line(self, patience_s: float) -> bytes | None:
        """One line of the process; empty if it died, `None` if it said nothing for too long, or far too much."""
        assert self._child is not None
        assert self._child.stdout is not None
        descriptor = self._child.stdout.fileno()
        deadline_s = time.monotonic() + patience_s
        while b"\n" not in self._unread:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline_s - time.monotonic()))
            if not ready or len(self._unread) > _LONGEST_ANSWER:
                return None
            got = os.read(descriptor, _PIPE_BYTES)
            if not got:
                return b""
            self._unread += got
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _end(self, *, too_late: bool = False) -> str:
        """End the process, if it has not ended, and say how it went."""
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
