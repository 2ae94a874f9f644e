"""What a receiver answers to a message (2.5.1 §2.9): read from whatever comes back."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Table 0008. A commit accept says that the message is kept; nothing more is waited for.
ACCEPTED = frozenset({"AA", "CA"})
REFUSED = frozenset({"AE", "AR", "CE", "CR"})
#: Table 0357 (message error condition codes) has numbers alone; other text may quote the patient.
_ERROR_CODE = re.compile(rb"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """MSA of an answer."""

    #: Of table 0008.
    code: str
    #: MSA-2: which message it answers.
    control_id: str
    #: ERR-3 where it is a number, else empty.
    error: str = ""


def read(block: bytes) -> Acknowledgement | None:
    """Read the acknowledgement in a block; `None` where there is none."""
    segments = re.split(rb"[\r\n]+", block)
    head = segments[0]
    if not head.startswith(b"MSH") or len(head) < 5:
        return None
    separator = head[3:4]
    found = {segment[:3]: segment.split(separator) for segment in reversed(segments[1:])}
    answer = [*found.get(b"MSA", []), b"", b"", b""]
    code = answer[1].strip().decode("ascii", "replace")
    if answer[0] != b"MSA" or code not in ACCEPTED | REFUSED:
        return None
    error = _error(found.get(b"ERR", []), head[4:5])
    return Acknowledgement(code, answer[2].strip().decode("ascii", "replace"), error)


def _error(fields: list[bytes], component: bytes) -> str:
    third = fields[3].split(component)[0].strip() if len(fields) > 3 else b""
    return third.decode("ascii") if _ERROR_CODE.fullmatch(third) else ""
