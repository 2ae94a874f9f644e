"""What is known of patients from other systems, and how far a radiologist is with a study."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def told_history(db: Database) -> None:
    """A fact's own code, whether it stands and until when, and whom its source meant.

    `origin`: which question or message told it, so that a new answer replaces the old one; empty for a study's own.
    """
    create(
        db,
        """
        ALTER TABLE history ADD COLUMN coded TEXT NOT NULL DEFAULT '';
        ALTER TABLE history ADD COLUMN standing TEXT NOT NULL DEFAULT 'yes';
        ALTER TABLE history ADD COLUMN ended_at TEXT NOT NULL DEFAULT '';
        ALTER TABLE history ADD COLUMN birth_date TEXT NOT NULL DEFAULT '';
        ALTER TABLE history ADD COLUMN sex TEXT NOT NULL DEFAULT '';
        ALTER TABLE history ADD COLUMN origin TEXT NOT NULL DEFAULT '';
        CREATE INDEX history_origin ON history (origin) WHERE superseded_by IS NULL AND origin != ''
        """,
    )


@MIGRATIONS()
def report_state(db: Database) -> None:
    """How far the radiologist's own report is, who told it and when."""
    create(
        db,
        """
        ALTER TABLE study ADD COLUMN report_state TEXT NOT NULL DEFAULT 'unread';
        ALTER TABLE study ADD COLUMN report_told_by TEXT NOT NULL DEFAULT '';
        ALTER TABLE study ADD COLUMN report_told_at TEXT NOT NULL DEFAULT ''
        """,
    )


@MIGRATIONS()
def study_of_patient(db: Database) -> None:
    """The studies of a patient are looked for whenever something new is known of them."""
    create(db, "CREATE INDEX study_patient ON study (patient_id, issuer)")
