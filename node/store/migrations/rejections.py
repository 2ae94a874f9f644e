"""What takes instances out of use, and what a person has decided about a study's patient."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def rejections(db: Database) -> None:
    """Which instances the notes name, whether these are here or not; which instances that has taken out of use."""
    create(
        db,
        """
        CREATE TABLE rejection (
            sop_instance_uid TEXT NOT NULL,
            note INTEGER NOT NULL REFERENCES instance,
            study_instance_uid TEXT NOT NULL,
            title TEXT NOT NULL,
            recorded_at TEXT NOT NULL,
            PRIMARY KEY (sop_instance_uid, note)
        ) WITHOUT ROWID;
        CREATE INDEX rejection_note ON rejection (note);
        ALTER TABLE instance ADD COLUMN rejected TEXT NOT NULL DEFAULT '';
        ALTER TABLE study ADD COLUMN released INTEGER NOT NULL DEFAULT 0
        """,
    )


@MIGRATIONS()
def resting(db: Database) -> None:
    """Find what rests on an instance."""
    create(db, "CREATE INDEX outcome_input_instance ON outcome_input (instance_id)")
