"""Studies, instances, work, outcomes, results and history."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def studies(db: Database) -> None:
    """Studies and their revisions."""
    create(
        db,
        """
        CREATE TABLE study (
            study_instance_uid TEXT PRIMARY KEY,
            state TEXT NOT NULL,
            reason TEXT NOT NULL DEFAULT '',
            open INTEGER NOT NULL DEFAULT 1,
            patient TEXT NOT NULL DEFAULT '{}',
            "order" TEXT NOT NULL DEFAULT '{}',
            patient_id TEXT NOT NULL DEFAULT '',
            issuer TEXT NOT NULL DEFAULT '',
            modality TEXT NOT NULL DEFAULT '',
            first_wall TEXT NOT NULL,
            first_boot_s REAL NOT NULL,
            first_boot_id TEXT NOT NULL,
            opened_wall TEXT NOT NULL,
            opened_boot_s REAL NOT NULL,
            opened_boot_id TEXT NOT NULL,
            last_wall TEXT NOT NULL,
            last_boot_s REAL NOT NULL,
            last_boot_id TEXT NOT NULL,
            expected_count INTEGER,
            force_requested INTEGER NOT NULL DEFAULT 0,
            revision INTEGER NOT NULL DEFAULT 0,
            lane TEXT NOT NULL DEFAULT 'ROUTINE',
            lane_order INTEGER NOT NULL DEFAULT 2,
            score REAL NOT NULL DEFAULT 0,
            sort_key REAL NOT NULL DEFAULT 0,
            reasons TEXT NOT NULL DEFAULT '[]'
        );
        CREATE INDEX study_open ON study (open) WHERE open = 1;
        CREATE INDEX study_rank ON study (lane_order, sort_key DESC);
        CREATE TABLE revision (
            study_instance_uid TEXT NOT NULL REFERENCES study,
            number INTEGER NOT NULL,
            closed_at TEXT NOT NULL,
            reason TEXT NOT NULL,
            PRIMARY KEY (study_instance_uid, number)
        )
        """,
    )


@MIGRATIONS()
def instances(db: Database) -> None:
    """Instances as received, every version of them."""
    create(
        db,
        """
        CREATE TABLE instance (
            id INTEGER PRIMARY KEY,
            study_instance_uid TEXT NOT NULL REFERENCES study,
            series_instance_uid TEXT NOT NULL,
            sop_instance_uid TEXT NOT NULL,
            sop_class_uid TEXT NOT NULL,
            transfer_syntax_uid TEXT NOT NULL,
            digest TEXT NOT NULL,
            size INTEGER NOT NULL,
            path TEXT NOT NULL UNIQUE,
            source TEXT NOT NULL,
            received_at TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'pending',
            reason TEXT NOT NULL DEFAULT '',
            modality TEXT NOT NULL DEFAULT '',
            image INTEGER NOT NULL,
            ours INTEGER NOT NULL DEFAULT 0,
            current INTEGER NOT NULL DEFAULT 1,
            lossy INTEGER NOT NULL DEFAULT 0,
            content_digest TEXT NOT NULL DEFAULT '',
            description TEXT NOT NULL DEFAULT '',
            UNIQUE (sop_instance_uid, digest)
        );
        CREATE INDEX instance_study ON instance (study_instance_uid, current)
        """,
    )


@MIGRATIONS()
def work_items(db: Database) -> None:
    """Work items and the events of everything that moves."""
    create(
        db,
        """
        CREATE TABLE work_item (
            id INTEGER PRIMARY KEY,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            study_instance_uid TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'ready',
            reason TEXT NOT NULL DEFAULT '',
            attempts INTEGER NOT NULL DEFAULT 0,
            passing_faults INTEGER NOT NULL DEFAULT 0,
            owner TEXT NOT NULL DEFAULT '',
            boot_id TEXT NOT NULL DEFAULT '',
            lease_boot_s REAL NOT NULL DEFAULT 0,
            not_before_boot_s REAL NOT NULL DEFAULT 0,
            created_at TEXT NOT NULL,
            changed_at TEXT NOT NULL,
            UNIQUE (kind, subject)
        );
        CREATE INDEX work_item_open ON work_item (kind, state) WHERE state IN ('ready', 'claimed');
        CREATE INDEX work_item_study ON work_item (study_instance_uid);
        CREATE TABLE event (
            id INTEGER PRIMARY KEY,
            at TEXT NOT NULL,
            room TEXT NOT NULL,
            about TEXT NOT NULL,
            subject TEXT NOT NULL,
            study_instance_uid TEXT NOT NULL DEFAULT '',
            before TEXT NOT NULL DEFAULT '',
            after TEXT NOT NULL,
            reason TEXT NOT NULL DEFAULT ''
        );
        CREATE INDEX event_study ON event (study_instance_uid)
        """,
    )


@MIGRATIONS()
def outcomes(db: Database) -> None:
    """What each model made of each revision: outcome, its inputs, findings and files."""
    create(
        db,
        """
        CREATE TABLE outcome (
            id INTEGER PRIMARY KEY,
            study_instance_uid TEXT NOT NULL REFERENCES study,
            revision INTEGER NOT NULL,
            run_number INTEGER NOT NULL DEFAULT 1,
            model TEXT NOT NULL,
            mode TEXT NOT NULL,
            model_digest TEXT NOT NULL,
            card_digest TEXT NOT NULL,
            series_instance_uid TEXT NOT NULL DEFAULT '',
            content_digest TEXT NOT NULL DEFAULT '',
            state TEXT NOT NULL,
            reason TEXT NOT NULL DEFAULT '',
            series TEXT NOT NULL DEFAULT '[]',
            created_at TEXT NOT NULL,
            finished_at TEXT NOT NULL DEFAULT '',
            timings TEXT NOT NULL DEFAULT '{}',
            UNIQUE (study_instance_uid, model, revision, run_number)
        );
        CREATE TABLE outcome_input (
            outcome_id INTEGER NOT NULL REFERENCES outcome,
            instance_id INTEGER NOT NULL REFERENCES instance,
            PRIMARY KEY (outcome_id, instance_id)
        ) WITHOUT ROWID;
        CREATE TABLE finding (
            id INTEGER PRIMARY KEY,
            outcome_id INTEGER NOT NULL REFERENCES outcome,
            ordinal INTEGER NOT NULL,
            body TEXT NOT NULL,
            UNIQUE (outcome_id, ordinal)
        );
        CREATE TABLE artifact (
            id INTEGER PRIMARY KEY,
            outcome_id INTEGER NOT NULL REFERENCES outcome,
            kind TEXT NOT NULL,
            profile TEXT NOT NULL DEFAULT '',
            path TEXT NOT NULL UNIQUE,
            size INTEGER NOT NULL,
            digest TEXT NOT NULL,
            sop_instance_uid TEXT NOT NULL DEFAULT '',
            sop_class_uid TEXT NOT NULL DEFAULT '',
            created_at TEXT NOT NULL,
            UNIQUE (outcome_id, kind, profile)
        );
        CREATE INDEX artifact_uid ON artifact (sop_instance_uid)
        """,
    )


@MIGRATIONS()
def outbox(db: Database) -> None:
    """One row a dataset a destination."""
    create(
        db,
        """
        CREATE TABLE outbox (
            id INTEGER PRIMARY KEY,
            artifact_id INTEGER NOT NULL REFERENCES artifact,
            study_instance_uid TEXT NOT NULL REFERENCES study,
            destination TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'queued',
            reason TEXT NOT NULL DEFAULT '',
            attempts INTEGER NOT NULL DEFAULT 0,
            owner TEXT NOT NULL DEFAULT '',
            boot_id TEXT NOT NULL DEFAULT '',
            lease_boot_s REAL NOT NULL DEFAULT 0,
            not_before_boot_s REAL NOT NULL DEFAULT 0,
            created_at TEXT NOT NULL,
            sent_at TEXT NOT NULL DEFAULT '',
            UNIQUE (artifact_id, destination)
        );
        CREATE INDEX outbox_queued ON outbox (destination) WHERE state = 'queued'
        """,
    )


@MIGRATIONS()
def history(db: Database) -> None:
    """Facts about patients, each with its source; a corrected fact is superseded, never overwritten."""
    create(
        db,
        """
        CREATE TABLE history (
            id INTEGER PRIMARY KEY,
            patient_id TEXT NOT NULL,
            issuer TEXT NOT NULL,
            code TEXT NOT NULL,
            scheme TEXT NOT NULL,
            value TEXT NOT NULL,
            unit TEXT NOT NULL DEFAULT '',
            source TEXT NOT NULL,
            observed_at TEXT NOT NULL DEFAULT '',
            study_instance_uid TEXT NOT NULL DEFAULT '',
            recorded_at TEXT NOT NULL,
            superseded_by INTEGER REFERENCES history
        );
        CREATE INDEX history_patient ON history (patient_id, issuer) WHERE superseded_by IS NULL
        """,
    )
