"""What a night is replayed from, beside its events."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def superseded_history(db: Database) -> None:
    """When a fact was superseded: what took its place says it of those from before, as far as anything did."""
    create(
        db,
        """
        ALTER TABLE history ADD COLUMN superseded_at TEXT NOT NULL DEFAULT '';
        UPDATE history SET superseded_at = coalesce(
            (SELECT newer.recorded_at FROM history newer WHERE newer.id = history.superseded_by), recorded_at
        ) WHERE superseded_by IS NOT NULL
        """,
    )
