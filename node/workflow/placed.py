"""How the place of a study is told: for how long it waits, until when others can overtake it, who pinned it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from node.domain.report_state import ReportState
from node.domain.time import Instant
from node.store import reading_list, waiting
from node.store.database import Database
from node.store.reading_list import Place
from node.store.studies import StudyRow

Story = dict[str, Any]


def places_told(db: Database, rows: Sequence[StudyRow], now: Instant | None = None) -> dict[str, Story]:
    """By UID: what is told of the place of each study; `wait_min` only where the present moment is given."""
    places = reading_list.places(db, [row.study_instance_uid for row in rows])
    reached_s = waiting.reached_s(db, now) if now is not None and rows else None
    return {row.study_instance_uid: _told(row, places[row.study_instance_uid], reached_s) for row in rows}


def _told(row: StudyRow, place: Place, reached_s: float | None) -> Story:
    is_unread = row.report_state is not ReportState.FINAL
    wait_min = None
    if reached_s is not None and place.queued_s is not None and is_unread:
        wait_min = round((reached_s - place.queued_s) / 60.0, 1)
    pin = place.pin
    return {
        "report_state": row.report_state.value,
        "report_told_by": row.report_told_by,
        "wait_min": wait_min,
        "overtakable_until": _overtakable_until(row, place) if is_unread else "",
        "waits_too_long": place.waits_too_long if is_unread else "",
        "pinned": None if pin is None else {"to": pin.shown, "by": pin.by, "at": pin.at.isoformat(), "why": pin.why},
    }


def _overtakable_until(row: StudyRow, place: Place) -> str:
    """Newer studies of its lane that arrive after this stand behind it (ISO 8601 UTC); empty where nothing says it."""
    if place.overtakable_min is None or place.queued_s is None:
        return ""
    try:
        until = row.first_received.wall + timedelta(minutes=place.overtakable_min)
    except OverflowError:
        return ""
    return until.isoformat(timespec="seconds")
