"""One model at work: a study in the network, the next one read ahead, the last one written.

The orders come from the parent, which alone decides what is read when; here they are obeyed at every beat.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import NoReturn, Self

from node.domain.model_card import ModelCard
from node.errors import Failed, MatinsError, Misconfigured, Transient, Unsuitable
from node.imaging import doubt, gates
from node.imaging.device import give_back, is_memory
from node.imaging.pipelines import Given, Reading, Runner
from node.infer.findings import Conclusion, conclude, written
from node.infer.given import expected_bytes, fits_ahead, given_of
from node.infer.messages import ORDER, Job, Order, OrderKind, Reply, ReplyKind

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class _Prepared:
    job: Job
    #: `None`: there was no memory to read it ahead.
    reading: Future[tuple[Given, float]] | None
    #: What the network made of it together with others, if it did.
    answer: Reading | None = None


class Reader:
    """Obeys orders until they end; itself the pulse of what it runs. All but `listen`'s thread is the main thread's."""

    def __init__(
        self,
        card: ModelCard,
        runner: Runner,
        say: Callable[[Reply], None],
        *,
        others: tuple[Runner, ...] = (),
        notes: tuple[str, ...] = (),
        on_cpu: Callable[[], tuple[Runner, tuple[Runner, ...]]] | None = None,
    ) -> None:
        self._card = card
        self._runner = runner
        #: Further members, where the model is an ensemble.
        self._others = others
        self._say = say
        self._notes = notes
        #: Loads the model and the others once more, on the CPU; `None`: they are there.
        self._on_cpu = on_cpu
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._prepared: dict[str, _Prepared] = {}
        #: How many studies are in the network, one in the midst of the other, and at which of them it has to wait.
        self._depth = 0
        self._paused_at: set[int] = set()
        self._ahead = ThreadPoolExecutor(1, "read-ahead")
        self._behind = ThreadPoolExecutor(1, "write")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Finish what is being written."""
        self._ahead.shutdown()
        self._behind.shutdown()

    def listen(self, questions: int) -> None:
        """Take orders from the file descriptor, in a thread; reading ahead begins while the network is busy."""
        threading.Thread(target=self._listen, args=(questions,), name="orders", daemon=True).start()

    def serve(self) -> None:
        """Obey orders until they end."""
        while (order := self._orders.get()) is not None:
            self._obey(order)

    def beat(self, done: int, total: int) -> None:  # noqa: ARG002 - nobody is shown progress yet
        """Between two windows: read what is more urgent, and wait while the device is somebody else's."""
        while self._depth in self._paused_at or not self._orders.empty():
            order = self._orders.get()
            if order is None:
                raise SystemExit(0)  # whoever asked is gone
            self._obey(order)

    def prepare(self, job: Job) -> None:
        """Begin to read a study ahead, if it fits beside the one that is read."""
        waiting = tuple(self._prepared.values())  # at most two, but where several come in company
        beside = sum(expected_bytes(each.job) for each in waiting) if len(waiting) > 1 else 0
        reading = self._ahead.submit(self._given, job) if fits_ahead(job, beside) else None
        self._prepared[job.id] = _Prepared(job, reading)

    def read(self, job_id: str) -> None:
        """Have the network read a study that was prepared; its last reply may come later, from the writing."""
        prepared = self._prepared.pop(job_id)
        self._say(Reply(id=job_id, kind=ReplyKind.STARTED))
        try:
            reply, concluded = self._concluded(prepared)
        except (Unsuitable, Failed, Transient) as error:
            self._say(Reply(id=job_id, kind=kind_of(error), reason=str(error)))
            return
        self._say(Reply(id=job_id, kind=ReplyKind.COMPUTED))
        if self._writing is not None:
            self._writing.result()  # not more than one: each holds a study's results
        self._writing = self._behind.submit(self._write, prepared.job, reply, concluded)
        self._writing.add_done_callback(_end_if_broken)

    def answer_together(self, job_ids: Sequence[str]) -> None:
        """Have the network answer several studies in one pass, where it can; each is read later, and by itself.

        Whatever is wrong with one of them is found again, and told, when that one is read.
        """
        waiting = [self._prepared[each] for each in job_ids if self._prepared[each].reading is not None]
        if len(waiting) < 2:
            return
        givens = dict[str, Given]()
        for each in waiting:
            self.beat(len(givens), len(waiting))
            with suppress(Unsuitable, Failed, Transient):
                ahead = Future[tuple[Given, float]]()
                ahead.set_result(self._taken(each))
                self._prepared[each.job.id] = replace(each, reading=ahead)
                givens[each.job.id] = ahead.result()[0]
        with suppress(Unsuitable, Failed, Transient, MemoryError):
            answers = doubt.read_many(self._card, self._runner, self._others, list(givens.values()), self)
            for job_id, answer in zip(givens, answers, strict=True):
                self._prepared[job_id] = replace(self._prepared[job_id], answer=answer)

    def _obey(self, order: Order) -> None:
        if order.kind is OrderKind.GO:
            self._depth += 1
            with _InTheMidst(self._behind) if self._depth > 1 else nullcontext():
                if order.company:
                    self.answer_together((order.id, *order.company))
                for job_id in (order.id, *order.company):
                    if order.company:
                        self.beat(0, 1)  # what was answered already has no beats of its own
                    self.read(job_id)
            self._depth -= 1
        elif order.kind is OrderKind.PAUSE:
            self._paused_at.add(self._depth)
            self._say(Reply(kind=ReplyKind.PAUSED))
        elif order.kind is OrderKind.RESUME:
            self._paused_at.clear()

    def _listen(self, questions: int) -> None:
        # No buffered reader: a thread that waits in one cannot be left behind when the process ends.
        left = b""
        while chunk := os.read(questions, _CHUNK):
            *lines, left = (left + chunk).split(b"\n")
            for line in lines:
                order = ORDER.validate_json(line)
                if order.kind is OrderKind.PREPARE and order.job is not None:
                    self.prepare(order.job)
                else:
                    self._orders.put(order)
        self._orders.put(None)

    def _given(self, job: Job) -> tuple[Given, float]:
        started = time.perf_counter()
        return given_of(job, self._card), time.perf_counter() - started

    def _taken(self, prepared: _Prepared) -> tuple[Given, float]:
        """What was read ahead; what waits there behind others' pixels is read at once."""
        ahead = prepared.reading
        if ahead is None or ahead.cancelled() or (not ahead.done() and ahead.cancel()):
            return self._given(prepared.job)
        return ahead.result()

    def _concluded(self, prepared: _Prepared) -> tuple[Reply, Conclusion]:
        started = time.perf_counter()
        given, read_s = self._taken(prepared)
        waited_s = time.perf_counter() - started
        let_in = gates.passed(self._card, given)
        reading = prepared.answer or self._read(given)
        concluded = conclude(self._card, given, reading, self._runner, self)
        reply = Reply(
            id=prepared.job.id,
            kind=ReplyKind.DONE,
            findings=concluded.findings,
            notes=(*self._notes, *let_in, *reading.notes, *concluded.notes),
            timings={"read_s": read_s, "waited_s": waited_s, **reading.timings},
        )
        return reply, concluded

    def _read(self, given: Given) -> Reading:
        """Read; where a GPU's memory ran out, and the runner itself knew nothing that needs less, on the CPU."""
        try:
            return doubt.read(self._card, self._runner, self._others, given, self)
        except (RuntimeError, MemoryError) as error:
            if self._on_cpu is None or not is_memory(error):
                raise
        # Not while the error is handled: it holds what was computed so far.
        give_back()
        try:
            runner, others = self._on_cpu()
            reading = doubt.read(self._card, runner, others, given, self)
        except Misconfigured as error:
            raise Failed(f"the GPU's memory ran out, and the CPU cannot compute it: {error}") from error
        except (RuntimeError, MemoryError) as error:
            if not is_memory(error):
                raise
            raise Failed("memory ran out, and there is no way that needs less") from error
        return replace(reading, notes=(*reading.notes, "memory ran out: on the CPU"))

    def _write(self, job: Job, reply: Reply, concluded: Conclusion) -> None:
        started = time.perf_counter()
        try:
            files = tuple(written(job.stem, each) for each in concluded.files)
        except (Failed, Transient) as error:
            self._say(Reply(id=job.id, kind=kind_of(error), reason=str(error)))
            return
        timings = {**reply.timings, "write_s": time.perf_counter() - started}
        self._say(replace(reply, files=files, timings=timings))


def kind_of(error: MatinsError) -> ReplyKind:
    """The reply that an error is told by."""
    if isinstance(error, Unsuitable):
        return ReplyKind.UNSUITABLE
    return ReplyKind.TRANSIENT if isinstance(error, Transient) else ReplyKind.FAILED


class _InTheMidst:
    """What no study may raise through another, in whose midst it is read: it ends the process instead.

    The other's steps would take the fault for their own, and that one would be failed, or tried with less memory.
    """

    def __init__(self, behind: ThreadPoolExecutor) -> None:
        self._behind = behind

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            self._behind.shutdown()  # what was read before is written
            _end_with(error)


def _end_if_broken(writing: Future[None]) -> None:
    """A fault in the writing thread ends the process as one in the network does: the parent counts it."""
    error = writing.exception()
    if error is not None:
        _end_with(error)


def _end_with(error: BaseException) -> NoReturn:
    traceback.print_exception(error)
    sys.stderr.flush()
    os._exit(1)
