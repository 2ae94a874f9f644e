"""One line an event, on standard error: safe against what peers send, and silent about who the patient is.

Rooms call `structlog.get_logger()` and log an event with keys (`study_instance_uid`, `work_item`, `model`,
`duration_s`). Three promises hold whoever wrote it: an event is one line; keys that name a patient (also plain `name`)
are dropped; objects are shown by their type alone, since their content may be a patient's.
"""

from __future__ import annotations

import logging
import math
import re
import sys
import warnings
from collections.abc import Mapping
from datetime import date
from enum import Enum
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Form = Literal["auto", "json", "text"]

#: Keys that would carry a patient's identity, without underscores (PS3.15 Table E.1-1 has the attributes).
_IDENTIFYING = frozenset(
    {
        "accession",
        "accessionnumber",
        "birthdate",
        "dateofbirth",
        "issuerofpatientid",
        "name",
        "otherpatientids",
        "patient",
        "patientaddress",
        "patientbirthdate",
        "patientid",
        "patientname",
        "personname",
    }
)
#: C0, DEL and C1 controls (CR, LF, ESC and CSI among them), line and paragraph separators, and marks that turn the
#: direction of text: whatever could end a line, move a cursor, or show other text than what stands there.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNFIT_FOR_KEY = re.compile(r"[^\w.-]", re.ASCII)
#: A peer may send 64 KiB as one value; a line keeps its first and last part.
_LONGEST = 2000
#: Libraries that put what a peer sent into their messages: only their errors are worth a line.
_TALKATIVE = ("pydicom", "pynetdicom", "highdicom", "apscheduler", "uvicorn.access")


def configure(room: str, form: Form = "auto", stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send the log of this process to `stream` (standard error), each line marked with `room`.

    form: "json", "text" (key=value), or "auto": text on a terminal, JSON elsewhere. Times are UTC. Messages of
    libraries and Python warnings take the same way; a warning is told by its category and place, not by its text.
    """
    out = sys.stderr if stream is None else stream
    as_json = form == "json" or (form == "auto" and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _Mark(room),
        structlog.processors.format_exc_info,
        _in_one_line,
        drop_identifying,
        neutralise,
    ]
    structlog.configure(
        processors=[*shared, _renderer(as_json)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    _adopt_libraries(shared, as_json, out)


def drop_identifying(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take out every key that would name a patient, at any depth; a processor of structlog."""
    kept: EventDict = _without_identity(event)
    return kept


def neutralise(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    r"""Make every value fit for one line: controls become `\x1b`, objects their type; a processor of structlog."""
    return {_UNFIT_FOR_KEY.sub("_", key): _plain(value) for key, value in event.items()}


class _Mark:
    """Adds the room to every event."""

    def __init__(self, room: str) -> None:
        self._room = room

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("room", self._room)
        return event


def _in_one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Write a traceback as `line | line | line`."""
    if isinstance(traceback := event.get("exception"), str):
        event["exception"] = " | ".join(line.strip() for line in traceback.splitlines())
    return event


def _renderer(as_json: bool) -> Processor:
    if as_json:
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.processors.LogfmtRenderer(key_order=["at", "level", "room", "event"], bool_as_flag=False)


def _adopt_libraries(shared: list[Processor], as_json: bool, out: TextIO) -> None:
    door = logging.StreamHandler(out)
    door.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, neutralise, _renderer(as_json)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [door]
    root.setLevel(logging.WARNING)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.showwarning = _show_warning


def _show_warning(
    message: Warning | str,  # noqa: ARG001 - may quote a patient's value
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    structlog.get_logger().warning("python_warning", category=category.__name__, place=f"{filename}:{lineno}")


def _without_identity(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_identity(part) for key, part in value.items() if not _is_identifying(key)}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_identity(part) for part in value]
    return value


def _is_identifying(key: object) -> bool:
    return re.sub(r"[^a-z]", "", str(key).lower()) in _IDENTIFYING


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, str | Path | BaseException | date):
        return _one_line(str(value))
    if isinstance(value, Mapping):
        return {_one_line(str(key)): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in value]
    return f"<{type(value).__name__}>"


def _one_line(text: str) -> str:
    half = _LONGEST // 2
    cut = text if len(text) <= _LONGEST else f"{text[:half]} … ({len(text)} characters) … {text[-half:]}"
    return _UNSAFE.sub(_escaped, cut)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
