"""What is asked of archives."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def retrievals(db: Database) -> None:
    """Studies that are retrieved from an archive, why, and how far each has come; kept for good."""
    create(
        db,
        """
        CREATE TABLE retrieval (
            id INTEGER PRIMARY KEY,
            study_instance_uid TEXT NOT NULL,
            peer TEXT NOT NULL,
            purpose TEXT NOT NULL,
            wanted_for TEXT NOT NULL DEFAULT '',
            state TEXT NOT NULL DEFAULT 'requested',
            reason TEXT NOT NULL DEFAULT '',
            requested_at TEXT NOT NULL,
            started_at TEXT NOT NULL DEFAULT '',
            finished_at TEXT NOT NULL DEFAULT '',
            expected INTEGER,
            held INTEGER NOT NULL DEFAULT 0,
            failed INTEGER NOT NULL DEFAULT 0
        );
        CREATE INDEX retrieval_study ON retrieval (study_instance_uid, peer)
        """,
    )
