"""The parent's side of the describing child: hands it jobs, and finds out which one it died of."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog
from pydantic import ValidationError

from node.limited_process import LimitedProcess
from node.receive.protocol import ANSWER, JOB, READY, Answer, Job

log = structlog.get_logger()


class HeaderReader:
    """One describing child at a time, started anew after each death."""

    def __init__(self, memory_bytes: int, limit_s: float) -> None:
        command = (sys.executable, "-m", "node.receive.describer", str(memory_bytes), str(limit_s))
        self._child = LimitedProcess(command, READY, limit_s, "the describing child")

    def __enter__(self) -> Self:
        """Start the child at once: its libraries take a moment."""
        self._child.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child."""
        self._child.end()

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
                self._child.end()
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
        self._child.tell(b"".join(JOB.dump_json(job) + b"\n" for job in jobs))

    def _answer(self) -> Answer | str:
        """The next answer, or how the child died."""
        line = self._child.answer()
        if isinstance(line, str):
            return line
        try:
            return ANSWER.validate_json(line)
        except ValidationError:
            self._child.end()
            return "the child answered nonsense"
