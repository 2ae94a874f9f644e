"""What destinations take, and how often they refused an object."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def capabilities(db: Database) -> None:
    """What each destination was last seen to take; how often each result was refused in a way that may pass."""
    create(
        db,
        """
        CREATE TABLE capability (
            destination TEXT NOT NULL,
            sop_class_uid TEXT NOT NULL,
            transfer_syntax_uid TEXT NOT NULL,
            accepted INTEGER NOT NULL,
            reason TEXT NOT NULL,
            learnt_at TEXT NOT NULL,
            PRIMARY KEY (destination, sop_class_uid, transfer_syntax_uid)
        ) WITHOUT ROWID;
        ALTER TABLE outbox ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0
        """,
    )
