"""Who may hear where a study stands, by the peers that it came from."""

from __future__ import annotations

from node.config import Settings
from node.store import versions
from node.store.database import Database


def hearers(db: Database, settings: Settings, study_instance_uid: str) -> frozenset[str]:
    """Names of the routes and readers that may hear of a study: those that `flags_to` lists for *every* image's source.

    An image that several peers sent lists what any of them does, as with results (`identity.destinations`).
    """
    allowed: frozenset[str] | None = None
    for names in versions.study_sources(db, study_instance_uid):
        sources = filter(None, map(settings.peer_named, names))
        listed = frozenset(name for source in sources for name in source.flags_to)
        allowed = listed if allowed is None else allowed & listed
    return allowed or frozenset()
