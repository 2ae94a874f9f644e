"""What is done by night: runs, digests, examinations that are expected, and studies of old that are fetched."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def nightly_runs(db: Database) -> None:
    """One row a task and local day, so that nothing is done twice.

    `work_item.hours`: when an item may be claimed (`domain.work.WorkHours`).
    """
    create(
        db,
        """
        CREATE TABLE nightly_run (
            task TEXT NOT NULL,
            day TEXT NOT NULL,
            state TEXT NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            due_at TEXT NOT NULL,
            began_at TEXT NOT NULL,
            ended_at TEXT NOT NULL DEFAULT '',
            reason TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (task, day)
        );
        ALTER TABLE work_item ADD COLUMN hours INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX event_rank ON event (at) WHERE about = 'rank'
        """,
    )


@MIGRATIONS()
def nightly_run_scale(db: Database) -> None:
    """When a run was begun on the scale of `waiting`, which no setting of the clock moves, seconds."""
    create(db, "ALTER TABLE nightly_run ADD COLUMN began_s REAL NOT NULL DEFAULT 0")


@MIGRATIONS()
def digests(db: Database) -> None:
    """One digest a morning, its body as JSON, and a letter for each route that wants it."""
    create(
        db,
        """
        CREATE TABLE digest (
            day TEXT PRIMARY KEY,
            since TEXT NOT NULL,
            made_at TEXT NOT NULL,
            body TEXT NOT NULL
        );
        CREATE TABLE digest_letter (
            id INTEGER PRIMARY KEY,
            day TEXT NOT NULL,
            route TEXT NOT NULL,
            control_id TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'queued',
            reason TEXT NOT NULL DEFAULT '',
            message BLOB,
            refusals INTEGER NOT NULL DEFAULT 0,
            sent_at TEXT NOT NULL DEFAULT '',
            acknowledged_at TEXT NOT NULL DEFAULT '',
            UNIQUE (day, route)
        );
        CREATE INDEX digest_letter_waiting ON digest_letter (route) WHERE state IN ('queued', 'sent')
        """,
    )


@MIGRATIONS()
def expected_studies(db: Database) -> None:
    """Examinations that a modality worklist has scheduled; `scheduled_at` is ISO 8601 UTC, `patient` JSON."""
    create(
        db,
        """
        CREATE TABLE expected_study (
            id INTEGER PRIMARY KEY,
            peer TEXT NOT NULL,
            study_instance_uid TEXT NOT NULL,
            accession_number TEXT NOT NULL,
            issuer TEXT NOT NULL,
            patient_id TEXT NOT NULL,
            patient TEXT NOT NULL,
            modalities TEXT NOT NULL,
            description TEXT NOT NULL,
            scheduled_at TEXT NOT NULL,
            told_at TEXT NOT NULL,
            missed_on TEXT NOT NULL DEFAULT '',
            UNIQUE (peer, study_instance_uid)
        );
        CREATE INDEX expected_study_uid ON expected_study (study_instance_uid);
        CREATE INDEX expected_study_time ON expected_study (scheduled_at)
        """,
    )


@MIGRATIONS()
def backfills(db: Database) -> None:
    """Studies of old that are fetched a few an hour, day by day backwards, and read in the shadow."""
    create(
        db,
        """
        CREATE TABLE backfill (
            id INTEGER PRIMARY KEY,
            peer TEXT NOT NULL,
            since TEXT NOT NULL,
            until TEXT NOT NULL,
            modality TEXT NOT NULL,
            at_once INTEGER NOT NULL,
            state TEXT NOT NULL DEFAULT 'running',
            reason TEXT NOT NULL DEFAULT '',
            listed_from TEXT NOT NULL DEFAULT '',
            created_at TEXT NOT NULL,
            changed_at TEXT NOT NULL
        );
        CREATE TABLE backfill_study (
            backfill_id INTEGER NOT NULL REFERENCES backfill,
            study_instance_uid TEXT NOT NULL,
            study_date TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'found',
            reason TEXT NOT NULL DEFAULT '',
            retrieval_id INTEGER,
            PRIMARY KEY (backfill_id, study_instance_uid)
        );
        CREATE INDEX backfill_study_state ON backfill_study (state)
        """,
    )
