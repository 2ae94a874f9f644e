"""What was known when: read back from the events of a study, so that a night can be told anew."""

from __future__ import annotations

from dataclasses import dataclass

from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.work import OutcomeState
from node.store import events
from node.store.database import Database

#: What a pin's event says where it puts the study above all, and where it takes that back.
PINNED_FIRST, UNPINNED = "first", "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From when until when something held, ISO 8601 UTC; `until` is empty where it still does."""

    since: str
    until: str = ""

    def holds(self, at: str) -> bool:
        """Whether it held at that moment."""
        return self.since <= at and (not self.until or at < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinSpan:
    """A person's word on the place of a study, while it held."""

    span: Span
    #: `None`: above every lane.
    lane: Lane | None
    by: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The moments of one study that its place depended on."""

    #: When it was first closed, or read early; empty where it never was.
    listed_at: str
    #: When a radiologist's final report became known; empty where none is.
    read_at: str
    #: Outcome → when its result stood.
    results: dict[int, tuple[Span, ...]]
    pins: tuple[PinSpan, ...]


def of_study(db: Database, study_instance_uid: str) -> Timeline:
    """Read the timeline of one study."""
    listed_at = read_at = ""
    results: dict[int, list[Span]] = {}
    pins: list[PinSpan] = []
    for event in events.of_study(db, study_instance_uid):
        match event.about:
            case "revision":
                listed_at = listed_at or event.at
            case "report_state" if event.after == ReportState.FINAL:
                read_at = read_at or event.at
            case "outcome":
                _, _, number = event.subject.rpartition(":")
                spans = results.setdefault(int(number), [])
                if event.before == OutcomeState.RESULT and spans:
                    spans[-1] = Span(since=spans[-1].since, until=event.at)
                if event.after == OutcomeState.RESULT:
                    spans.append(Span(since=event.at))
            case "pin":
                if pins and not pins[-1].span.until:
                    last = pins[-1]
                    ended = Span(since=last.span.since, until=event.at)
                    pins[-1] = PinSpan(span=ended, lane=last.lane, by=last.by, why=last.why)
                if event.after != UNPINNED:
                    lane = None if event.after == PINNED_FIRST else Lane(event.after)
                    pins.append(PinSpan(span=Span(since=event.at), lane=lane, by=event.subject, why=event.reason))
            case _:
                pass
    return Timeline(
        listed_at=listed_at,
        read_at=read_at,
        results={number: tuple(spans) for number, spans in results.items()},
        pins=tuple(pins),
    )


def studies_between(db: Database, since: str, until: str) -> list[str]:
    """UIDs of the studies that came before `until` and that no final report was known of at `since`."""
    rows = db.rows(
        "SELECT study_instance_uid FROM study WHERE first_wall < ? AND prior = '' AND NOT EXISTS (SELECT 1 FROM event"
        " WHERE event.study_instance_uid = study.study_instance_uid AND about = 'report_state' AND after = 'final'"
        " AND at < ?) ORDER BY first_wall",
        (until, since),
    )
    return [row["study_instance_uid"] for row in rows]
