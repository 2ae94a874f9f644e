"""How the node stands: disk, rooms, and what waits where; for `matins status` and `/healthz`."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from node.config import Settings
from node.store import events, hl7_messages, retention, tallies, waiting
from node.store.database import Database
from node.store.occupancy import is_occupied
from node.workflow import history_story

Standing = dict[str, Any]

#: Moves of rooms that are looked back over; a room that has not moved within them is not told.
_LOOK_BACK = 500
#: Refusals at the door that are told.
_REFUSALS = 10


def node_standing(db: Database, settings: Settings) -> Standing:
    """What is where, as plain values."""
    return {
        "ae_title": settings.node.ae_title,
        "address": settings.node.address,
        "port": settings.dicom_port,
        "data_folder": str(settings.data.folder),
        "serving": is_occupied(settings.data.folder),
        "rooms": rooms(db),
        "disk": disk(settings),
        "rules": rules(db),
        "studies": tallies.studies_by_state(db),
        "work_items": tallies.work_by_state(db),
        "results": tallies.results_by_state(db),
        "waits_too_long": waiting.too_long_by_lane(db),
        "freed": retention.freed_counts(db),
        "history_servers": history_story.newest_of_servers(db, {each.name for each in settings.fhir}),
        "hl7_messages": hl7_messages.tally(db),
        "hl7_troubles": [asdict(each) for each in hl7_messages.troubles(db)],
        "refusals": [
            {"at": event.at, "about": event.about, "who": event.subject, "reason": event.reason}
            for event in events.refusals(db, _REFUSALS)
        ],
    }


def rooms(db: Database) -> list[Standing]:
    """The last move of each room that `matins serve` started, by name; empty where systemd starts them."""
    latest: dict[str, Standing] = {}
    for event in events.latest(db, "room", _LOOK_BACK):
        if event.subject not in latest:
            latest[event.subject] = {
                "room": event.subject,
                "state": event.after,
                "since": event.at,
                "reason": event.reason,
            }
    return [latest[name] for name in sorted(latest)]


def rules(db: Database) -> Standing:
    """Which rules are in force (their digest), since when, and what is broken; empty where none ever were."""
    moves = events.latest(db, "rules", 1)
    if not moves:
        return {}
    latest = moves[0]
    return {"digest": latest.subject, "state": latest.after, "since": latest.at, "broken": latest.reason}


def disk(settings: Settings, folder: Path | None = None) -> Standing:
    """How full the disk of the data folder (or of `folder`) is; `ok` says that the listener still accepts."""
    usage = shutil.disk_usage(folder or settings.data.folder)
    free_percent = 100.0 * usage.free / usage.total
    return {
        "free_bytes": usage.free,
        "free_percent": round(free_percent, 1),
        "minimum_free_percent": settings.data.minimum_free_percent,
        "ok": free_percent >= settings.data.minimum_free_percent,
    }


def health(db: Database, settings: Settings) -> Standing:
    """Whether the node is fit for work: {"ok": bool, "checks": {what: "ok" or why not}}; names no patient.

    Rooms count only while a `matins serve` owns the data folder: under systemd, systemd knows.

    Raises:
        Transient: the database does not answer.
    """
    tallies.studies_by_state(db)
    checks: dict[str, str] = {"database": "ok"}
    space = disk(settings)
    checks["disk"] = "ok" if space["ok"] else f"{space['free_percent']} % free"
    if is_occupied(settings.data.folder):
        for room in rooms(db):
            checks[f"room {room['room']}"] = "ok" if room["state"] == "ready" else str(room["state"])
    return {"ok": all(each == "ok" for each in checks.values()), "checks": checks}
