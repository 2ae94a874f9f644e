"""Outcomes that stand beside those of a study."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def asides(db: Database) -> None:
    """A study that was read in its own time is read again, to be compared with: what it was told to be stays."""
    create(db, "ALTER TABLE outcome ADD COLUMN aside INTEGER NOT NULL DEFAULT 0")
