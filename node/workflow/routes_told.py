"""How the routes of the reading list stand, and what each was told of a study, as plain values. Read only."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from node.config import Route, Settings
from node.domain.notice import NoticeState
from node.domain.priority import Lane
from node.store import notices
from node.store.database import Database

Story = dict[str, Any]


def routes_told(db: Database, settings: Settings) -> list[Story]:
    """Each route of the settings: what waits, what was last acknowledged, and how long telling takes."""
    return [_route(db, settings, route) for route in settings.routes]


def notices_told(db: Database, study_instance_uid: str) -> list[Story]:
    """Every notice of a study, oldest first."""
    return [
        {
            "route": each.route,
            "version": each.version,
            "control_id": each.control_id,
            "state": each.state.value,
            "reason": each.reason,
            "because": each.because,
            "lane": each.flag.lane.value,
            "score": each.flag.score,
            "attempts": each.attempts,
            "told_at": each.told_at,
            "sent_at": each.sent_at,
            "acknowledged_at": each.acknowledged_at,
            "lag_s": each.lag_s,
        }
        for each in notices.of_study(db, study_instance_uid)
    ]


def percentile(ascending: Sequence[float], percent: float) -> float | None:
    """The smallest of the values that `percent` of them do not exceed; `None` of none."""
    return ascending[max(0, ceil(len(ascending) * percent / 100) - 1)] if ascending else None


def _route(db: Database, settings: Settings, route: Route) -> Story:
    counts, lags = notices.counts(db, route.name), notices.lags_s(db, route.name)
    trouble = notices.last_trouble(db, route.name)
    waiting = counts.get(NoticeState.QUEUED, 0) + counts.get(NoticeState.SENT, 0)
    # What is held is the matter of a study, not of the route: a patient without an accession number is no fault.
    dead = counts.get(NoticeState.DEAD, 0)
    return {
        "name": route.name,
        "kind": route.kind,
        "to": route.url or f"{route.host}:{route.port}",
        "state": "trouble" if trouble or dead else "waiting" if waiting else "idle",
        "reason": trouble,
        "sources": [peer.name for peer in settings.peers if route.name in peer.flags_to],
        "waiting": waiting,
        "notices": counts,
        "last_acknowledged_at": notices.last_acknowledged(db, route.name),
        "lag_p50_s": percentile(lags, 50),
        "lag_p95_s": percentile(lags, 95),
        "lag_stat_p95_s": percentile(notices.lags_s(db, route.name, lanes=[Lane.STAT]), 95),
    }
