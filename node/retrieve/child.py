"""The process that asks: one errand as JSON on standard input, lines of JSON on standard output, the reply last.

It may hang, crash or run out of memory over what an archive sends; then the room knows, and goes on.
"""

from __future__ import annotations

import logging
import resource
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from types import TracebackType

from node.errors import Failed, Transient
from node.retrieve.fhir.exchange import CapabilityQuery, HistoryQuery
from node.retrieve.question import (
    ERRAND,
    ContentsQuery,
    Errand,
    Line,
    NotOffered,
    Question,
    Reply,
    SeriesQuery,
    StepsErrand,
    StudyQuery,
    Tally,
    Transfer,
    Way,
    WorklistQuery,
)

#: Whatever a peer sends, this process grows no further: bytes of address space.
_MEMORY_BYTES = 768 << 20
#: Progress is told so often at most, seconds.
_TELL_S = 0.2


def main() -> int:
    """Do the errand on standard input; always prints a reply, unless it is killed."""
    _keep_quiet()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    errand = ERRAND.validate_json(sys.stdin.buffer.read())
    # Also where the room that would kill us is gone.
    signal.alarm(int(errand.limit_s) + 5)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        reply = _reply(errand, stop, _Teller().tell)
    except Transient as error:
        reply = Reply(reason=str(error), failed=True, again=True)
    except Failed as error:
        reply = Reply(reason=str(error), failed=True, offered=not isinstance(error, NotOffered))
    _print(Line(reply=reply))
    return 0


class _Teller:
    """Prints progress, but not all of it."""

    def __init__(self) -> None:
        self._last_s = 0.0

    def tell(self, tally: Tally) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s > _TELL_S:
            self._last_s = now_s
            _print(Line(progress=tally))


def _reply(errand: Errand, stop: threading.Event, tell: Callable[[Tally], None]) -> Reply:
    """Load what the errand needs, and do it."""
    if isinstance(errand, HistoryQuery | CapabilityQuery):
        from node.retrieve.fhir import inquiry

        # There is nobody to take leave of: over HTTP the connection ends with us.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if isinstance(errand, HistoryQuery):
            return Reply(history=inquiry.history_of(errand))
        return Reply(capability=inquiry.capability_of(errand))
    if isinstance(errand, WorklistQuery):
        from node.retrieve import modality_worklist

        return modality_worklist.scheduled_steps(errand, stop)
    if isinstance(errand, StepsErrand):
        from node.retrieve import step_requests

        return step_requests.put(errand, stop)
    if errand.dicomweb and not (isinstance(errand, Transfer) and errand.way is not Way.WEB):
        from node.retrieve import dicomweb

        match errand:
            case Question():
                return Reply(count=dicomweb.instances_of_study(errand))
            case StudyQuery():
                return dicomweb.matching_studies(errand)
            case SeriesQuery():
                return Reply(series=dicomweb.series_of_study(errand))
            case ContentsQuery():
                return Reply(contents=dicomweb.contents_of_study(errand))
            case Transfer():
                return dicomweb.retrieve(errand, stop, tell)
    from node.retrieve import dicom_query, dicom_retrieve

    match errand:
        case Question():
            return Reply(count=dicom_query.instances_of_study(errand, stop))
        case StudyQuery():
            return dicom_query.matching_studies(errand, stop)
        case SeriesQuery():
            return Reply(series=dicom_query.series_of_study(errand, stop))
        case ContentsQuery():
            return Reply(contents=dicom_query.contents_of_study(errand, stop))
        case Transfer():
            return dicom_retrieve.retrieve(errand, stop, tell)


def _print(line: Line) -> None:
    sys.stdout.write(line.model_dump_json(exclude_defaults=True) + "\n")
    sys.stdout.flush()


def _keep_quiet() -> None:
    """Nothing that a peer wrote reaches the log: neither through a library's warnings nor through a traceback."""
    warnings.simplefilter("ignore")
    for name in ("pynetdicom", "pydicom", "httpx", "httpcore", "python_multipart"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    sys.excepthook = _tell_crash
    threading.excepthook = lambda told: _tell_crash(told.exc_type, told.exc_value, told.exc_traceback)


def _tell_crash(kind: type[BaseException], _error: BaseException | None, trace: TracebackType | None) -> None:
    """Say where it happened, not with what."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" in {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else ""
    sys.stderr.write(f"the process that asks ends by {kind.__name__}{where}\n")


if __name__ == "__main__":
    sys.exit(main())
