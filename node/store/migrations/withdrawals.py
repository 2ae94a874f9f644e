"""What is withdrawn at destinations, and by which rejection notes."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def withdrawal_notes(db: Database) -> None:
    """Rejection notes of our own, each with the results that it names; the series in which results lie."""
    create(
        db,
        """
        CREATE TABLE withdrawal_note (
            id INTEGER PRIMARY KEY,
            study_instance_uid TEXT NOT NULL REFERENCES study,
            destination TEXT NOT NULL,
            title TEXT NOT NULL,
            reason TEXT NOT NULL,
            created_at TEXT NOT NULL,
            artifact_id INTEGER REFERENCES artifact
        );
        CREATE TABLE withdrawal_note_result (
            outbox_id INTEGER PRIMARY KEY REFERENCES outbox,
            note INTEGER NOT NULL REFERENCES withdrawal_note
        );
        CREATE INDEX withdrawal_note_result_note ON withdrawal_note_result (note);
        ALTER TABLE artifact ADD COLUMN series_instance_uid TEXT NOT NULL DEFAULT '';
        CREATE INDEX outcome_superseded ON outcome (id) WHERE state = 'superseded'
        """,
    )
