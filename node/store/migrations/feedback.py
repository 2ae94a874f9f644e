"""What readers say of results."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def feedback(db: Database) -> None:
    """One row a saying, and one a correcting object and outcome; `standing`: it is believed."""
    create(
        db,
        """
        CREATE TABLE feedback (
            id INTEGER PRIMARY KEY,
            study_instance_uid TEXT NOT NULL REFERENCES study,
            outcome_id INTEGER NOT NULL REFERENCES outcome,
            model TEXT NOT NULL,
            verdict TEXT NOT NULL,
            label TEXT NOT NULL DEFAULT '',
            because TEXT NOT NULL DEFAULT '',
            given_by TEXT NOT NULL,
            given_at TEXT NOT NULL,
            sop_instance_uid TEXT NOT NULL DEFAULT '',
            standing INTEGER NOT NULL DEFAULT 1
        );
        CREATE INDEX feedback_study ON feedback (study_instance_uid);
        CREATE INDEX feedback_model ON feedback (model);
        CREATE UNIQUE INDEX feedback_correction ON feedback (sop_instance_uid, outcome_id) WHERE sop_instance_uid != ''
        """,
    )
