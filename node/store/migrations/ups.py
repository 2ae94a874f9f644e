"""Unified Procedure Steps, who watches them, and what they are still to be told."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def procedure_steps_unified(db: Database) -> None:
    """`attributes` and `generated` are DICOM JSON; `generated` is what we said last of a study that is to be read.

    `number`: which reading of its study a step is, 0 where a peer made it. `performer`: the peer that claimed it.
    """
    create(
        db,
        """
        CREATE TABLE ups (
            sop_instance_uid TEXT PRIMARY KEY,
            state TEXT NOT NULL,
            transaction_uid TEXT NOT NULL DEFAULT '',
            performer TEXT NOT NULL DEFAULT '',
            source TEXT NOT NULL DEFAULT '',
            issuer TEXT NOT NULL DEFAULT '',
            study_instance_uid TEXT NOT NULL DEFAULT '',
            number INTEGER NOT NULL DEFAULT 0,
            priority_order INTEGER NOT NULL,
            attributes TEXT NOT NULL,
            generated TEXT NOT NULL DEFAULT '',
            created_at TEXT NOT NULL,
            changed_at TEXT NOT NULL
        );
        CREATE INDEX ups_study ON ups (study_instance_uid, number) WHERE number > 0;
        CREATE INDEX ups_state ON ups (state, changed_at);
        CREATE TABLE ups_subscription (
            ups TEXT NOT NULL REFERENCES ups (sop_instance_uid) ON DELETE CASCADE,
            subscriber TEXT NOT NULL,
            locked INTEGER NOT NULL,
            PRIMARY KEY (ups, subscriber)
        );
        CREATE TABLE ups_global_subscription (
            subscriber TEXT NOT NULL,
            keys TEXT NOT NULL,
            locked INTEGER NOT NULL,
            PRIMARY KEY (subscriber, keys)
        );
        CREATE TABLE ups_event (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            subscriber TEXT NOT NULL,
            ups TEXT NOT NULL,
            type INTEGER NOT NULL,
            content TEXT NOT NULL,
            created_at TEXT NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0
        );
        CREATE INDEX ups_event_subscriber ON ups_event (subscriber, id)
        """,
    )


@MIGRATIONS()
def revision_of_step(db: Database) -> None:
    """Of which revision of its study a step names the images."""
    create(db, "ALTER TABLE ups ADD COLUMN revision INTEGER NOT NULL DEFAULT 0")
