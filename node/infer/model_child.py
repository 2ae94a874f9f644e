"""The parent's end of a model process: start, ask with a deadline, end. It knows every way to die."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import structlog
from pydantic import ValidationError

from node.catalogue import Model
from node.config import InferSettings
from node.errors import Failed
from node.infer.messages import JOB, REPLY, START, Job, Reply, ReplyKind, Start, line

COMMAND = (sys.executable, "-m", "node.infer.model_process")
#: Loading and warming up may take this long.
LOAD_LIMIT_S = 180.0
#: An idle child ends within this once its input is closed.
_END_S = 2.0
#: How often the parent looks up while it waits: signs of life, the request to stop.
_TICK_S = 0.2
#: A reply is some kilobytes; more without an end of line is no reply.
_LONGEST_REPLY = 1 << 20
_STDERR_LINES = 20
#: Volumes are allocated and freed by the hundred megabytes. Given back to the kernel each time, every page is
#: zeroed anew: that is a fifth of all time. Kept, and in huge pages, it is none.
_TUNABLES = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296:glibc.malloc.hugetlb=1"
#: What belongs to the room alone: the child must not answer for it.
_NOT_INHERITED = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})

log = structlog.get_logger()


class ModelDied(Exception):
    """The model process crashed, hung, or answered garbage; it is gone, and the text says how."""


class ModelChild:
    """One running model process. Create and use it in the main thread: it dies with the thread that made it."""

    def __init__(
        self, model: Model, settings: InferSettings, command: Sequence[str] = COMMAND, *, evidence: Path | None = None
    ) -> None:
        self.model = model
        #: "cpu" or "cuda" once it is ready.
        self.device = ""
        #: The largest memory it has told of.
        self.resident_bytes = 0
        self._ready = False
        self._buffer = b""
        self._said: deque[str] = deque(maxlen=_STDERR_LINES)
        self._started_s = time.monotonic()
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, name="model-stderr", daemon=True)
        self._listener.start()
        self._unsent = line(START, _start_of(model, settings, evidence))
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def wait_until_ready(self, beat: Callable[[], None]) -> None:
        """Wait until the model is loaded; `beat` is called several times a second and may raise.

        Raises:
            Failed: it cannot be loaded, with the reason.
            ModelDied: the process died over it.
        """
        if self._ready:
            return
        reply = self._exchange(self._started_s + LOAD_LIMIT_S, f"was not ready within {LOAD_LIMIT_S:g} s", beat)
        if reply.kind is not ReplyKind.READY:
            self.kill()
            raise Failed(f"the model {self.model.card.name} cannot be loaded: {reply.reason}")
        self._ready, self.device, self.resident_bytes = True, reply.device, reply.resident_bytes
        log.info("model_ready", model=self.model.card.name, device=self.device, **_rounded(reply))

    def ask(self, job: Job, limit_s: float, beat: Callable[[], None]) -> Reply:
        """Have one series read within `limit_s`; `beat` as above.

        Raises:
            Failed, ModelDied: as `wait_until_ready`.
        """
        self.wait_until_ready(beat)
        self._unsent = line(JOB, job)
        reply = self._exchange(time.monotonic() + limit_s, f"did not end within {limit_s:g} s", beat)
        if reply.id != job.id:
            self.kill()
            raise ModelDied("the model process answered something that was not asked")
        self.resident_bytes = max(self.resident_bytes, reply.resident_bytes)
        return reply

    def end(self) -> None:
        """Let an idle process end by itself; end a busy one."""
        if self.alive and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
        self.kill()

    def kill(self) -> None:
        """End the process and whatever it has started, now."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._listener.join(_END_S)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _exchange(self, deadline_s: float, late: str, beat: Callable[[], None]) -> Reply:
        """Send what is unsent and return the next reply."""
        try:
            text = self._next_line(deadline_s, late, beat)
            return REPLY.validate_json(text)
        except ValidationError:
            self.kill()
            raise ModelDied("the model process answered garbage") from None

    def _next_line(self, deadline_s: float, late: str, beat: Callable[[], None]) -> bytes:
        questions, answers = self._process.stdin, self._process.stdout
        assert questions is not None
        assert answers is not None
        while b"\n" not in self._buffer:
            if time.monotonic() > deadline_s:
                self.kill()
                raise ModelDied(f"the model process {late} and was ended")
            beat()
            readable, writable, _ = select.select([answers], [questions] if self._unsent else [], [], _TICK_S)
            if writable:
                self._send(questions.fileno())
            if readable:
                self._take_in(os.read(answers.fileno(), 1 << 16))
        found, _, self._buffer = self._buffer.partition(b"\n")
        return found

    def _send(self, questions: int) -> None:
        try:
            self._unsent = self._unsent[os.write(questions, self._unsent) :]
        except BrokenPipeError:
            self._unsent = b""  # it has ended: the next read says so
        except BlockingIOError:
            pass

    def _take_in(self, read: bytes) -> None:
        if not read:
            raise ModelDied(self._how_it_ended())
        self._buffer += read
        if len(self._buffer) > _LONGEST_REPLY:
            self.kill()
            raise ModelDied("the model process answered garbage")

    def _how_it_ended(self) -> str:
        """Bury the process and say how it came to its end."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)  # its channel closes a moment before it ends
        self.kill()
        code = self._process.returncode
        if code < 0:
            return f"the model process was killed by {signal.Signals(-code).name}"
        last = self._said[-1] if self._said else ""
        return f"the model process ended with exit code {code}" + (f": {last}" if last else "")

    def _listen(self) -> None:
        """Keep the last lines of the child's standard error, and pass them on to the log."""
        stream = self._process.stderr
        assert stream is not None
        with suppress(ValueError, OSError):
            for raw in stream:
                text = raw.decode(errors="replace").strip()[:500]
                if text:
                    self._said.append(text)
                    log.info("model_says", model=self.model.card.name, text=text)


def _start_of(model: Model, settings: InferSettings, evidence: Path | None) -> Start:
    return Start(
        card=model.card,
        folder=str(model.folder),
        weights={role: str(path) for role, path in model.weights.items()},
        model_digest=model.model_digest,
        device=settings.device,
        threads=settings.threads,
        evidence=str(evidence) if evidence else "",
    )


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    given = kept.get("GLIBC_TUNABLES", "")
    kept["GLIBC_TUNABLES"] = f"{_TUNABLES}:{given}" if given else _TUNABLES
    return kept


def _rounded(reply: Reply) -> dict[str, float | int]:
    return {**{key: round(value, 3) for key, value in reply.timings.items()}, "resident_bytes": reply.resident_bytes}
