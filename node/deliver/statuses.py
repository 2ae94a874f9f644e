"""What a destination's answers mean for a result, as tables.

C-STORE statuses: PS3.4 §B.2.3 and PS3.7 §9.1.1.1.9, Annex C. Rejections: PS3.8 §9.3.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What happens to a result after an answer."""

    #: The peer has it.
    SENT = "sent"
    #: A passing fault at the peer: the same bytes are sent again later, for ever.
    AGAIN = "again"
    #: A fault that may pass, but seldom does: tried `MOST_REFUSALS` times, slowly, then dead.
    SLOWLY = "slowly"
    #: The peer says that it has it already: it is looked up there before that is believed.
    LOOK = "look"
    #: The peer does not store such objects: dead, unless another kind of output may take its place.
    UNWANTED = "unwanted"
    #: The peer would give the same answer for ever: a person has to mend something.
    DEAD = "dead"


#: Answers of the verdict SLOWLY after which an object is dead.
MOST_REFUSALS = 3


@dataclass(frozen=True, slots=True)
class Meaning:
    """One status, explained."""

    verdict: Verdict
    #: The status in the standard's words.
    meaning: str
    remedy: str = ""
    #: Whether it is said of the SOP Class, and so of every object that bears it.
    of_class: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a destination answered to one object."""

    verdict: Verdict
    #: For people, with the remedy; empty for plain success.
    reason: str = ""
    #: The same without the peer's own words: it may name the patient in them.
    logged: str = ""
    #: Whether it refuses every object of this SOP Class.
    of_class: bool = False


_AGAIN, _DEAD, _SENT = Verdict.AGAIN, Verdict.DEAD, Verdict.SENT
_SLOWLY, _UNWANTED = Verdict.SLOWLY, Verdict.UNWANTED
_SEE_LOG = "See the destination's log, mend it there, then `matins retry`"
_ENABLE = "Enable this SOP Class there for our AE title, then `matins retry`"
_ALLOW = "Allow our AE title to store there, then `matins retry`"
_BUG = "Report this object and the destination's log to both makers, then `matins retry`"

SUCCESS = 0x0000  # PS3.4 §B.2.3

_STATUSES: dict[int, Meaning] = {
    SUCCESS: Meaning(_SENT, "success"),
    # Warnings: the object is stored. PS3.4 §B.2.3
    0xB000: Meaning(_SENT, "coercion of data elements"),
    0xB006: Meaning(_SENT, "elements discarded"),
    0xB007: Meaning(_SENT, "data set does not match SOP Class, stored all the same"),
    # General statuses: PS3.7 Annex C
    0x0105: Meaning(_DEAD, "no such attribute", _BUG),
    0x0106: Meaning(_DEAD, "invalid attribute value", _BUG),
    0x0107: Meaning(_SENT, "attribute list error"),
    0x0110: Meaning(_SLOWLY, "processing failure", _SEE_LOG),
    # We never send two objects under one UID: it has this one, if it has any.
    0x0111: Meaning(Verdict.LOOK, "duplicate SOP Instance: it says that it has the object already"),
    0x0112: Meaning(_DEAD, "no such SOP Instance", _BUG),
    0x0115: Meaning(_DEAD, "invalid argument value", _BUG),
    0x0116: Meaning(_SENT, "attribute value out of range"),
    0x0117: Meaning(_DEAD, "invalid SOP Instance", _BUG),
    0x0118: Meaning(_UNWANTED, "no such SOP Class", _ENABLE, of_class=True),
    0x0119: Meaning(_DEAD, "class-instance conflict", _BUG),
    0x0120: Meaning(_DEAD, "missing attribute", _BUG),
    0x0121: Meaning(_DEAD, "missing attribute value", _BUG),
    0x0122: Meaning(_UNWANTED, "SOP Class not supported", _ENABLE, of_class=True),
    0x0124: Meaning(_UNWANTED, "not authorized", _ALLOW),
    0x0210: Meaning(_AGAIN, "duplicate invocation"),
    0x0211: Meaning(_DEAD, "unrecognized operation", _ENABLE),
    0x0212: Meaning(_DEAD, "mistyped argument", _BUG),
    0x0213: Meaning(_AGAIN, "resource limitation"),
    # Cancel and Pending answer other services (PS3.7 §C.2, §C.3): this peer is confused.
    0xFE00: Meaning(_AGAIN, "cancel, which is no answer to C-STORE"),
    0xFF00: Meaning(_AGAIN, "pending, which is no answer to C-STORE"),
    0xFF01: Meaning(_AGAIN, "pending, which is no answer to C-STORE"),
}

#: (first, last, meaning), looked up in this order. PS3.4 §B.2.3, then the classes of PS3.7 Annex C.
_RANGES: tuple[tuple[int, int, Meaning], ...] = (
    # dcm4chee's own, of rejection notes, of what was rejected before and of patients: it would say the same for ever.
    (0xA770, 0xA770, Meaning(Verdict.LOOK, "the rejection note has come before")),
    (0xA771, 0xA779, Meaning(_SLOWLY, "refused by a rule of the archive's own", _SEE_LOG)),
    (0xA700, 0xA7FF, Meaning(_AGAIN, "refused: out of resources")),
    (0xA900, 0xA9FF, Meaning(_UNWANTED, "data set does not match SOP Class", _BUG)),
    (0xC000, 0xCFFF, Meaning(_SLOWLY, "cannot understand", _SEE_LOG)),
    (0xB000, 0xBFFF, Meaning(_SENT, "warning of the destination's own")),
    (0x0001, 0x0001, Meaning(_SENT, "warning without a number")),
)
_UNKNOWN = Meaning(_DEAD, "failure of the destination's own", _SEE_LOG)


def meaning_of(status: int) -> Meaning:
    """Return what a C-STORE status means for the result."""
    exact = _STATUSES.get(status)
    if exact is not None:
        return exact
    return next((meaning for first, last, meaning in _RANGES if first <= status <= last), _UNKNOWN)


def status_reason(status: int, comment: str = "") -> str:
    """Say what a status means in one sentence a person can act on; empty for success.

    `comment` is the peer's Error Comment (0000,0902), an LO of at most 64 characters.
    """
    if status == SUCCESS:
        return ""
    meaning = meaning_of(status)
    said = printable(comment)
    quoted = f" (“{said}”)" if said else ""
    remedy = f". {meaning.remedy}" if meaning.remedy else ""
    return f"0x{status:04X} {meaning.meaning}{quoted}{remedy}"


def printable(text: str) -> str:
    """What a peer says, as it may stand in a line of ours."""
    return "".join(character for character in text if character.isprintable()).strip()[:64]


def answer_of(status: int, comment: str = "") -> Answer:
    """What a C-STORE status, or a Failure Reason (0008,1197), says of the object."""
    meaning = meaning_of(status)
    return Answer(
        verdict=meaning.verdict,
        reason=status_reason(status, comment),
        logged=f"0x{status:04X} {meaning.meaning}",
        of_class=meaning.of_class,
    )


#: Result of a rejection that passes by itself; 1 is permanent. PS3.8 §9.3.4
TRANSIENT = 2

#: (source, reason) → what it means and what to do. The same pair is listed once for both results.
_REJECTIONS: dict[tuple[int, int], tuple[str, str]] = {
    (1, 1): ("it gives no reason", "See the destination's log"),
    (1, 2): ("it does not support the DICOM application context", "Is that port a DICOM port?"),
    (1, 3): ("it does not know our AE title {ours}", "Enter {ours} there, with this machine's address"),
    (1, 7): ("it is not called {theirs}", "Correct ae_title of the peer {name}, or the AE title there"),
    (2, 1): ("it gives no reason", "See the destination's log"),
    (2, 2): ("it does not support protocol version 1", "Is that port a DICOM port?"),
    (3, 1): ("it is congested for now", ""),
    (3, 2): ("it has reached its limit of associations", ""),
}


def rejection(source: int, reason: int, *, ours: str, theirs: str, name: str) -> tuple[str, str]:
    """Say why a peer rejected the association, and what to do about it (empty where it passes by itself)."""
    problem, remedy = _REJECTIONS.get((source, reason), ("it gives a reason of its own", "See the destination's log"))
    words = {"ours": ours, "theirs": theirs, "name": name}
    return problem.format(**words), remedy.format(**words)


def rejection_reason(result: int, source: int, reason: int, *, ours: str, theirs: str, name: str) -> str:
    """The same in one sentence that names the codes."""
    problem, remedy = rejection(source, reason, ours=ours, theirs=theirs, name=name)
    text = f"{name} rejects the association ({result}/{source}/{reason}): {problem}"
    return f"{text}. {remedy}" if remedy else text


#: Result of a presentation context (PS3.8 §9.3.3.2).
_CONTEXT_RESULTS = {
    1: "user rejection",
    2: "no reason given",
    3: "SOP Class not supported",
    4: "transfer syntax not supported",
}


def context_reason(result: int | None, sop_class: str, transfer_syntax: str, *, name: str) -> str:
    """Say that a peer did not accept what an object needs, and what to do about it."""
    why = _CONTEXT_RESULTS.get(result if result is not None else 2, f"result {result}")
    text = f"{name} does not accept {sop_class} in {transfer_syntax} ({why})"
    return f"{text}. Enable both there, or take this output from the peer's outputs; then `matins retry`"
