"""The parent's end of a model process: start, order, listen, end. It never waits; it knows every way to die."""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import structlog
from pydantic import ValidationError

from node.catalogue import Model
from node.config import InferSettings
from node.errors import Failed
from node.infer.asked import Asked
from node.infer.messages import ORDER, REPLY, START, Job, Order, OrderKind, Reply, ReplyKind, Start, line

COMMAND = (sys.executable, "-m", "node.infer.model_process")
#: Loading and warming up may take this long.
LOAD_LIMIT_S = 180.0
#: An idle child ends within this once its input is closed.
_END_S = 2.0
_LOOK_S = 0.005
#: How often the parent looks up while it waits: signs of life, the request to stop.
_TICK_S = 0.2
#: More without an end of line is no reply.
_LONGEST_REPLY = 1 << 20
_CHUNK = 1 << 16
_STDERR_LINES = 20
#: Volumes are allocated and freed by the hundred megabytes. Given back to the kernel each time, every page is
#: zeroed anew: that is a fifth of all time. Kept, and in huge pages, it is none.
TUNABLES = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296:glibc.malloc.hugetlb=1"
#: What belongs to the room alone: the child must not answer for it.
_NOT_INHERITED = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})

log = structlog.get_logger()


class ModelDied(Exception):
    """The model process crashed, hung, or answered garbage; it is gone, and the text says how."""

    def __init__(self, how: str, *, for_memory: bool = False) -> None:
        super().__init__(how)
        #: Whether somebody killed it (SIGKILL), as the kernel does when memory runs out.
        self.for_memory = for_memory


class ModelChild:
    """One running model process. Create and use it in the main thread: it dies with the thread that made it."""

    def __init__(
        self,
        model: Model,
        settings: InferSettings,
        command: Sequence[str] = COMMAND,
        *,
        evidence: Path | None = None,
        frugal: bool = False,
    ) -> None:
        self.model = model
        #: Whether it makes do with less memory.
        self.frugal = frugal
        #: Whether the model is loaded, and may then read several small studies in one pass.
        self.ready = self.reads_many = False
        #: "cpu" or "cuda", and what it is confined to, once it is ready.
        self.device = self.confinement = ""
        #: The least seconds that the network took for a study.
        self.quickest_s = math.inf
        #: The largest memory it has told of, of the machine and of the GPU; and the GPU's whole.
        self.resident_bytes = self.device_bytes = self.device_total_bytes = 0
        self._asked = Asked()
        self._buffer = b""
        self._lines: deque[bytes] = deque()
        self._said: deque[str] = deque(maxlen=_STDERR_LINES)
        self._started_s = time.monotonic()
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, name="model-stderr", daemon=True)
        self._listener.start()
        self._unsent = line(START, start_of(model, settings, evidence, frugal))
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)

    @property
    def alive(self) -> bool:
        """Whether the process still runs; it is not reaped, so that its number still names what it has started."""
        if self._process.returncode is not None:
            return False
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    @property
    def owes(self) -> frozenset[str]:
        """The jobs of which it owes the last reply."""
        return self._asked.owed

    @property
    def readable(self) -> int:
        """The descriptor on which it answers, for `select`."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    @property
    def writable(self) -> int | None:
        """The descriptor for what is not sent yet, for `select`; `None` if all is."""
        assert self._process.stdin is not None
        return self._process.stdin.fileno() if self._unsent else None

    def order(
        self, kind: OrderKind, job: Job | None = None, *, job_id: str = "", company: tuple[str, ...] = ()
    ) -> None:
        """Tell it what to do; sent as it takes it."""
        self._asked.ask(order := Order(kind=kind, job=job, id=job_id, company=company))
        self._unsent += line(ORDER, order)

    def heard(self) -> Iterator[Reply]:
        """Send what it takes and yield what it has said since, without waiting; the word that it is ready is kept.

        What is not asked for any more, because one reply could not be dealt with, comes the next time.

        Raises:
            Failed: the model cannot be loaded, with the reason; the process is gone.
            ModelDied: it died, answered what it was not asked, or is not ready in time.
        """
        self._send()
        if not self._lines:
            self._lines += self._read()
        while self._lines:
            reply = self._understood(self._lines.popleft())
            if reply.kind is not ReplyKind.READY:
                yield reply
        if not self.ready and time.monotonic() > self._started_s + LOAD_LIMIT_S:
            raise self.killed(f"was not ready within {LOAD_LIMIT_S:g} s")

    def killed(self, why: str) -> ModelDied:
        """End the process, and return that as an error: "the model process <why> and was ended"."""
        self.kill()
        return ModelDied(f"the model process {why} and was ended")

    def wait_until_ready(self, beat: Callable[[], None]) -> None:
        """Wait until the model is loaded; `beat` is called several times a second and may raise.

        Raises:
            Failed, ModelDied: as `heard`.
        """
        while not self.ready:
            beat()
            writable = [] if self.writable is None else [self.writable]
            select.select([self.readable], writable, [], _TICK_S)
            deque(self.heard(), maxlen=0)

    def end(self) -> None:
        """Let an idle process end by itself; end a busy one."""
        if self.alive and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
            self._wait_for_its_end()
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

    def _understood(self, text: bytes) -> Reply:
        try:
            reply = REPLY.validate_json(text)
        except ValidationError:
            self.kill()
            raise ModelDied("the model process answered garbage") from None
        self.resident_bytes = max(self.resident_bytes, reply.resident_bytes)
        self.device_bytes = max(self.device_bytes, reply.device_bytes)
        self.device_total_bytes = reply.device_total_bytes or self.device_total_bytes
        if not self.ready:
            self._begin(reply)
        elif not self._asked.fits(reply):
            self.kill()
            raise ModelDied("the model process answered something that was not asked")
        self.quickest_s = min(self.quickest_s, reply.timings.get("model_s", math.inf))
        return reply

    def _begin(self, reply: Reply) -> None:
        if reply.kind is not ReplyKind.READY:
            self.kill()
            raise Failed(f"the model {self.model.card.name} cannot be loaded: {reply.reason}")
        self.ready, self.reads_many = True, reply.reads_many
        self.device, self.confinement = reply.device, reply.confinement
        log.info(
            "model_ready",
            model=self.model.card.name,
            device=self.device,
            confinement=self.confinement,
            **_rounded(reply),
        )

    def _read(self) -> list[bytes]:
        answers = self._process.stdout
        assert answers is not None
        with suppress(BlockingIOError):
            read = os.read(answers.fileno(), _CHUNK)
            if not read:
                raise self._how_it_ended()
            self._buffer += read
        *lines, self._buffer = self._buffer.split(b"\n")
        if len(self._buffer) > _LONGEST_REPLY:
            self.kill()
            raise ModelDied("the model process answered garbage")
        return lines

    def _send(self) -> None:
        questions = self._process.stdin
        assert questions is not None
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(questions.fileno(), self._unsent) :]
        except BrokenPipeError:
            self._unsent = b""  # it has ended: the next read says so
        except BlockingIOError:
            pass

    def _wait_for_its_end(self) -> None:
        deadline_s = time.monotonic() + _END_S
        while self.alive and time.monotonic() < deadline_s:
            time.sleep(_LOOK_S)

    def _how_it_ended(self) -> ModelDied:
        """Bury the process and say how it came to its end."""
        self._wait_for_its_end()  # its channel closes a moment before it ends
        self.kill()
        code = self._process.returncode
        if code < 0:
            how = f"the model process was killed by {signal.Signals(-code).name}"
            return ModelDied(how, for_memory=-code == signal.SIGKILL)
        last = self._said[-1] if self._said else ""
        return ModelDied(f"the model process ended with exit code {code}" + (f": {last}" if last else ""))

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


def key_of(model: Model) -> str:
    """What a process has loaded: the model, and the card, whose parameters are part of it."""
    return f"{model.model_digest}:{model.card_digest}"


def start_of(model: Model, settings: InferSettings, evidence: Path | None, frugal: bool) -> Start:
    """What a model process is told first."""
    return Start(
        card=model.card,
        folder=str(model.folder),
        weights={role: str(path) for role, path in model.weights.items()},
        model_digest=model.model_digest,
        own_code=model.own_code,
        device=settings.device,
        threads=settings.threads,
        evidence=str(evidence) if evidence else "",
        frugal=frugal,
    )


def environment() -> dict[str, str]:
    """What a child of the room is given of its environment: not what belongs to the room alone."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    given = kept.get("GLIBC_TUNABLES", "")
    kept["GLIBC_TUNABLES"] = f"{TUNABLES}:{given}" if given else TUNABLES
    return kept


def _rounded(reply: Reply) -> dict[str, float | int]:
    return {**{key: round(value, 3) for key, value in reply.timings.items()}, "resident_bytes": reply.resident_bytes}
