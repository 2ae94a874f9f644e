"""Which files are freed, and what is known of who else holds what they held."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def retention(db: Database) -> None:
    """When files were freed, by which digest they are known again, and which of them are still to be removed."""
    create(
        db,
        """
        ALTER TABLE instance ADD COLUMN freed_at TEXT NOT NULL DEFAULT '';
        ALTER TABLE instance ADD COLUMN freed_digest TEXT NOT NULL DEFAULT '';
        ALTER TABLE instance ADD COLUMN archived_at TEXT NOT NULL DEFAULT '';
        ALTER TABLE artifact ADD COLUMN freed_at TEXT NOT NULL DEFAULT '';
        CREATE TABLE freeing (
            path TEXT PRIMARY KEY,
            identity TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE retention (
            study_instance_uid TEXT PRIMARY KEY REFERENCES study,
            looked_at TEXT NOT NULL DEFAULT '',
            asked_at TEXT NOT NULL DEFAULT '',
            questions INTEGER NOT NULL DEFAULT 0
        ) WITHOUT ROWID
        """,
    )


@MIGRATIONS()
def freed(db: Database) -> None:
    """What was freed is counted whenever somebody asks how the node stands."""
    create(db, "CREATE INDEX instance_freed ON instance (study_instance_uid) WHERE freed_at != ''")
