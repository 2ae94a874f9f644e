"""A site's own message: one segment a line, values in braces, and what a line depends on in square brackets.

    # a comment
    OBR|1||{filler_number}^{sending_application}|…
    [if tq1] TQ1|1||||||||{priority}
    [each finding] OBX|{number}|CE|FINDING^Finding^99MATINS|{index}|{code}^{meaning}^{scheme}||||||P

Nothing is computed. A value cannot leave its field (`escape`), so what a template says in words stays as it was checked
when it was loaded: see `rules`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from node.deliver.hl7.escape import field

Value: TypeAlias = str | tuple[str, ...]

#: What a message is made of; the first word of a line's brackets is one of these.
SCALARS = frozenset(
    {"control_id", "sent_at", "version", "processing_id", "character_set", "sending_application", "sending_facility",
     "receiving_application", "receiving_facility", "patient_id", "issuer_of_patient_id", "patient_name",
     "patient_birth_date", "patient_sex", "accession_number", "study_instance_uid", "study_at", "study_description",
     "modality", "filler_number", "notice_version", "priority", "lane", "score", "abnormal", "status"}
)  # fmt: skip
#: What is repeated, and the values of one of it.
LISTS: Mapping[str, frozenset[str]] = {
    "reason": frozenset({"text"}),
    "finding": frozenset(
        {"code", "meaning", "scheme", "probability", "abnormal", "laterality", "count", "model", "text"}
    ),
    "failure": frozenset({"model", "text"}),
}
#: Further conditions: whether the version has TQ1 (from 2.5 on), and whether no finding stands.
CONDITIONS = frozenset({"tq1", "no_tq1", "no_findings"})
#: Counted by us: of this segment in the message, and of this entry in its list.
_COUNTED = frozenset({"number", "index"})

_LINE = re.compile(r"(?:\[(?P<word>if|each) (?P<what>[a-z0-9_]+)\] )?(?P<segment>[A-Z][A-Z0-9]{2}\|.*)")
_HOLE = re.compile(r"\{([a-z0-9_]*)\}")


class Wrong(ValueError):
    """A template says what it must not say, or says it wrongly; `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        self.line = line
        super().__init__(problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One segment of a template."""

    #: Where it stands in the file.
    number: int
    text: str
    #: The list that it is repeated for, or empty.
    each: str = ""
    #: The value or condition without which it is left out, or empty.
    given: str = ""

    @property
    def segment(self) -> str:
        """Name of the segment."""
        return self.text[:3]

    def field(self, number: int) -> str:
        """Field `number` as it stands in the template; MSH-1 is the separator itself."""
        fields = self.text.split("|")
        position = number - 1 if self.segment == "MSH" else number
        return fields[position] if position < len(fields) else ""


@dataclass(frozen=True, slots=True)
class Template:
    """A message that values are put into."""

    lines: tuple[Line, ...]

    @property
    def message_type(self) -> str:
        """MSH-9 up to the event, as "ORU^R01"."""
        return "^".join(self.lines[0].field(9).split("^")[:2])

    def of(self, segment: str) -> list[Line]:
        """The lines of a segment."""
        return [line for line in self.lines if line.segment == segment]


def parse(text: str) -> Template:
    """Read a template.

    Raises:
        Wrong: a line is no segment, or names a value that there is none of.
    """
    lines = [
        _line(number, raw.strip())
        for number, raw in enumerate(text.split("\n"), start=1)
        if raw.strip() and not raw.strip().startswith("#")
    ]
    if not lines:
        raise Wrong(1, "it holds no segment")
    return Template(tuple(lines))


def _line(number: int, raw: str) -> Line:
    if not raw.isprintable():
        raise Wrong(number, "a control character stands in it")
    found = _LINE.fullmatch(raw)
    if found is None:
        raise Wrong(number, "it is no segment: three capitals and |, after [if …] or [each …] at most")
    word, what, text = found["word"], found["what"] or "", found["segment"]
    if word == "if" and what not in SCALARS | CONDITIONS:
        raise Wrong(number, f"[if {what}]: there is no such value or condition")
    if word == "each" and what not in LISTS:
        raise Wrong(number, f"[each {what}]: there is no such list")
    allowed = SCALARS | _COUNTED | (LISTS[what] if word == "each" else frozenset())
    unknown = sorted({name for name in _HOLE.findall(text) if name not in allowed})
    if unknown:
        raise Wrong(number, f"{{{unknown[0]}}}: there is no such value here")
    if re.search(r"[{}]", _HOLE.sub("", text)):
        raise Wrong(number, "a brace stands alone")
    return Line(number=number, text=text, each=what if word == "each" else "", given=what if word == "if" else "")


def rendered(
    template: Template,
    scalars: Mapping[str, Value],
    lists: Mapping[str, Sequence[Mapping[str, Value]]],
    conditions: frozenset[str],
) -> str:
    """Put the values in; segments end with CR (2.5.1 §2.4)."""
    made: list[str] = []
    for line in template.lines:
        if line.given and not (line.given in conditions or scalars.get(line.given)):
            continue
        entries: Sequence[Mapping[str, Value]] = lists[line.each] if line.each else ({},)
        for index, entry in enumerate(entries, start=1):
            number = 1 + sum(each.startswith(line.segment) for each in made)
            values = {**scalars, **entry, "number": str(number), "index": str(index)}
            made.append(_HOLE.sub(lambda hole, values=values: field(values[hole[1]]), line.text))  # type: ignore[misc]
    return "".join(f"{segment}\r" for segment in made)
