"""The answer to a message: MSH and MSA, and ERR where it is a refusal (chapter 2, §2.9; tables 0008, 0155)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from node.receive.hl7.syntax import NULL, Segment, escaped

#: ERR-3 (table 0357): accepted, segment sequence error, application internal error.
ACCEPTED, SEQUENCE_ERROR, INTERNAL_ERROR = "0", "100", "207"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Verdict(StrEnum):
    """What becomes of a message, as MSA-1 says it in original mode."""

    ACCEPT = "AA"
    #: It cannot be understood.
    ERROR = "AE"
    #: It is not taken: its type, event, version, processing ID, or sender.
    REJECT = "AR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A verdict, with the code of table 0357 and the reason; neither holds a value of the message."""

    verdict: Verdict
    code: str = ACCEPTED
    reason: str = ""


def acknowledgement(header: Segment, answer: Answer, *, application: str, now: datetime, number: str) -> bytes | None:
    """Write the answer to the message with this MSH, or nothing where it asks for none.

    In enhanced mode (MSH-15 or MSH-16 is valued) an accept acknowledgement (CA, CE, CR) is sent where MSH-15 asks for
    it, and an application acknowledgement only where MSH-15 does not and MSH-16 does; in original mode always that.

    now: local time, aware. number: our own MSH-10.
    """
    code = _code(header, answer.verdict)
    if not code:
        return None
    marks = header.delimiters
    bar, hat = marks.field, marks.component

    def plain(text: str) -> str:
        return escaped(text, marks, "latin-1")

    event = header.text(9, 2)
    kind = hat.join(["ACK", *([plain(event)] if event else [])])
    lines = [
        bar.join(
            (
                *("MSH", f"{hat}{marks.repetition}{marks.escape}{marks.subcomponent}", plain(application), ""),
                *(
                    _echo(header.raw_field(3)),
                    _echo(header.raw_field(4)),
                    now.strftime("%Y%m%d%H%M%S%z"),
                    "",
                    kind,
                    plain(number),
                ),
                *(_echo(header.raw_field(11)) or "P", _echo(header.raw_field(12)) or "2.5"),
            )
        ),
        bar.join(("MSA", code, _echo(header.raw_field(10)))),
    ]
    if answer.verdict is not Verdict.ACCEPT:
        # ERR-3, ERR-4 (severity: error), ERR-8 (user message), as of version 2.5.
        coded = hat.join((answer.code, "", "HL70357"))
        lines.append(bar.join(("ERR", "", "", coded, "E", "", "", "", plain(answer.reason))))
    return ("\r".join(lines) + "\r").encode("latin-1", "replace")


def _code(header: Segment, verdict: Verdict) -> str:
    """MSA-1; empty where no answer is wanted."""
    accept, application = (header.text(number).upper() for number in (15, 16))
    if not accept and not application:
        return verdict
    if accept and accept != "NE":
        return f"C{verdict[1]}" if _is_wanted(accept, verdict) else ""
    return verdict if _is_wanted(application, verdict) else ""


def _is_wanted(condition: str, verdict: Verdict) -> bool:
    """Table 0155: AL always, NE never, ER on error, SU on success."""
    if condition in ("ER", "SU"):
        return (verdict is Verdict.ACCEPT) == (condition == "SU")
    return condition not in ("", "NE")


def _echo(raw: str) -> str:
    """A field as it came, without what could end a line or a frame."""
    return "" if raw == NULL else _CONTROL.sub("", raw)[:199]
