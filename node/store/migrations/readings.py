"""What is kept of a reading beside its findings."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def notes(db: Database) -> None:
    """How a result was computed, where that was not the plain way: a JSON list of sentences."""
    create(db, "ALTER TABLE outcome ADD COLUMN notes TEXT NOT NULL DEFAULT '[]'")
