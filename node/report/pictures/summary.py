"""What a page says of a study: of each model what it is, what it found, and the slices that matter.

Nothing of the patient, of the order or of any text of the source is said: pages get printed and passed on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from node.domain.finding import Finding, Segment
from node.domain.work import OutcomeState
from node.report.attributes import qualification
from node.report.boxes import in_order
from node.report.evidence import Evidence
from node.report.pictures.lettering import is_written
from node.report.zone import moment

#: Lines of numbers that one model gets on a page.
_MOST_LINES = 16
#: Numbers are shown with this many significant digits.
_DIGITS = 4

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, with the colour of the segment that it speaks of."""

    text: str
    colour: Colour | None = None


def notice(evidence: Evidence) -> str:
    """What stands on every page: how far to trust it."""
    grade = qualification(evidence)
    return "Preliminary, not verified" if grade == "PRODUCT" else f"{grade} - not for diagnosis"


def heading(evidence: Evidence) -> str:
    """The model as its reader knows it."""
    return evidence.card.title


def provenance(evidence: Evidence) -> str:
    """Name and version of the model, and when it was through."""
    when = moment(evidence)
    zone = f"{when:%z}" or "+0000"
    return f"{evidence.card.name} {evidence.card.version}, read {when:%Y-%m-%d %H:%M} {zone}"


def lines(evidence: Evidence) -> list[Line]:
    """What the model says, a line a finding; segments that no finding speaks of by their names."""
    if evidence.state is not OutcomeState.RESULT:
        return [Line(f"Not read ({evidence.state.replace('_', ' ')}): {evidence.reason}")]
    segments = {segment.number: segment for segment in evidence.card.segments}
    said = [_finding(finding, segments) for finding in evidence.findings]
    spoken_of = {finding.segment_number for finding in evidence.findings}
    silent = [segments[n] for n in shown_segments(evidence) if n not in spoken_of]
    said += [Line(_named(segment), segment.colour) for segment in silent]
    if len(said) > _MOST_LINES:
        more = len(said) - _MOST_LINES + 1
        said = [*said[: _MOST_LINES - 1], Line(f"and {more} more in the report")]
    return said or [Line("No finding")]


def shown_segments(evidence: Evidence) -> list[int]:
    """Numbers of the card's segments that the mask holds."""
    if evidence.mask is None:
        return []
    held = evidence.counts.sum(axis=0)
    return [segment.number for segment in evidence.card.segments if held[segment.number]]


def key_slices(evidence: Evidence, most: int) -> list[int]:
    """Indices of the slices that matter, in their order: the largest of a segment, those with boxes, where it looked.

    An image that stands alone matters by itself; of a stack without mask and saliency no slice stands out.
    """
    if evidence.mask is not None:
        numbers = shown_segments(evidence)
        sizes = evidence.counts.sum(axis=0)
        by_size = sorted(numbers, key=lambda number: -int(sizes[number]))
        return _first(most, (int(evidence.counts[:, number].argmax()) for number in by_size))
    marked = _marked(evidence)
    if marked:
        return _first(most, marked)
    if evidence.saliency is not None:
        return [int(evidence.saliency.sum(axis=(1, 2)).argmax())]
    return [0] if len(evidence.slices) == 1 else []


def _marked(evidence: Evidence) -> list[int]:
    """Indices of the slices that boxes lie on, those that show a finding best first."""
    places = {
        (str(each.header.SOPInstanceUID), each.frame_number or 0): index for index, each in enumerate(evidence.slices)
    }
    drawn = [in_order(finding) for finding in evidence.findings]
    keys = [(each.sop_instance_uid, each.frame_number) for boxes in (*(b[:1] for b in drawn), *drawn) for each in boxes]
    return [places[key] for key in keys if key in places]


def _first(most: int, indices: Iterable[int]) -> list[int]:
    found: dict[int, None] = {}
    for index in indices:
        found.setdefault(index)
        if len(found) == most:
            break
    return sorted(found)


def _finding(finding: Finding, segments: dict[int, Segment]) -> Line:
    segment = segments.get(finding.segment_number or 0)
    name = finding.code.meaning if segment is None else _named(segment)
    name = f"{name}, lesion {finding.lesion_number}" if finding.lesion_number else name
    said = []
    if finding.present is not None:
        said.append("present" if finding.present else "absent")
    said += [f"{each.name} {_number(each.value)} {each.unit_name}".rstrip() for each in finding.measurements]
    threshold = "" if finding.operating_point is None else f" (present from {_number(finding.operating_point)})"
    for called, value in (("probability", finding.probability), ("score", finding.score)):
        said += [] if value is None else [f"{called} {_number(value)}{threshold}"]
    return Line(f"{name}: {', '.join(said)}" if said else name, None if segment is None else segment.colour)


def _number(value: float) -> str:
    """Four significant digits, without an exponent: 1235, 12.35, 0.0124."""
    rounded = float(f"{value:.{_DIGITS}g}")
    return f"{rounded:.0f}" if abs(rounded) >= 10 ** (_DIGITS - 1) else np.format_float_positional(rounded, trim="-")


def _named(segment: Segment) -> str:
    """The label, or the coded meaning, which is English, where the font lacks letters of the label."""
    return segment.label if is_written(segment.label) else f"{segment.type.meaning} ({segment.label})"
