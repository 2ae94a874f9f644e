"""What holds a study's place: when it joined the list on a scale no clock step moves, and what a person says of it."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def waiting(db: Database) -> None:
    """One scale for waiting over clock steps and boots; what was ranked before joined it by its wall time."""
    create(
        db,
        """
        CREATE TABLE boot (
            boot_id TEXT PRIMARY KEY,
            offset_s REAL NOT NULL
        );
        ALTER TABLE study ADD COLUMN queued_s REAL;
        ALTER TABLE study ADD COLUMN overtakable_min REAL;
        ALTER TABLE study ADD COLUMN waits_too_long TEXT NOT NULL DEFAULT '';
        UPDATE study SET queued_s = (julianday(first_wall) - 2440587.5) * 86400.0 WHERE revision > 0;
        CREATE INDEX study_waiting ON study (lane, queued_s) WHERE waits_too_long = '' AND report_state != 'final'
        """,
    )


@MIGRATIONS()
def pins(db: Database) -> None:
    """Where a person has put a study: lane empty means above every lane."""
    create(
        db,
        """
        CREATE TABLE pin (
            study_instance_uid TEXT PRIMARY KEY REFERENCES study,
            lane TEXT NOT NULL,
            pinned_by TEXT NOT NULL,
            pinned_at TEXT NOT NULL,
            pinned_s REAL NOT NULL,
            why TEXT NOT NULL
        )
        """,
    )


@MIGRATIONS()
def kinds(db: Database) -> None:
    """A study's modalities and body parts without a look at each of its headers: it is ranked anew at every fact."""
    create(
        db,
        """
        CREATE INDEX instance_kind ON instance (
            study_instance_uid, modality,
            coalesce(json_extract(nullif(description, ''), '$.body_part_examined'), '')
        ) WHERE current = 1 AND image = 1 AND ours = 0 AND rejected = ''
        """,
    )
