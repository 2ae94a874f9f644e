"""The room's side of the process that reads documents: asks it, and tells what became of it."""

from __future__ import annotations

import sys

from pydantic import ValidationError

from node.domain.prior_document import PriorDocument
from node.errors import Failed
from node.limited_process import LimitedProcess
from node.report.priors.messages import ANSWER, QUESTION, READY, Question

#: Memory that it may write to, bytes, and seconds for one object.
MEMORY_BYTES = 512 << 20
LIMIT_S = 30.0
_LONGEST_ANSWER = 16 << 20


class DocumentReader:
    """One such process at a time: started when it is first needed, and anew after each death."""

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, limit_s: float = LIMIT_S) -> None:
        command = (sys.executable, "-m", "node.report.priors.child", str(memory_bytes), str(limit_s))
        self._child = LimitedProcess(command, READY, limit_s, "the process that reads documents", _LONGEST_ANSWER)

    def read(self, question: Question) -> PriorDocument:
        """Return what an object says.

        Raises:
            Failed: it cannot be read, or the process died of it; the reason says which.
            Transient: the process does not start.
        """
        self._child.tell(QUESTION.dump_json(question, exclude_defaults=True) + b"\n")
        line = self._child.answer()
        if isinstance(line, str):
            raise Failed(f"reading it: {line}")
        try:
            answer = ANSWER.validate_json(line)
        except ValidationError:
            self._child.end(too_late=True)
            raise Failed("the process that reads it answered nonsense") from None
        if answer.document is None:
            raise Failed(answer.unreadable)
        return answer.document

    def close(self) -> None:
        """End the process."""
        self._child.end()
