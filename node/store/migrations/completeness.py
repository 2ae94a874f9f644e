"""What speaks for a study's being complete, and whether it is read at all."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def procedure_steps(db: Database) -> None:
    """Performed procedure steps as modalities tell them (MPPS), by study, with the instances that each lists."""
    create(
        db,
        """
        CREATE TABLE procedure_step (
            sop_instance_uid TEXT PRIMARY KEY,
            state TEXT NOT NULL,
            reason_code TEXT NOT NULL DEFAULT '',
            source TEXT NOT NULL,
            created_at TEXT NOT NULL,
            changed_at TEXT NOT NULL,
            released INTEGER NOT NULL DEFAULT 0
        );
        CREATE TABLE procedure_step_study (
            study_instance_uid TEXT NOT NULL,
            step TEXT NOT NULL REFERENCES procedure_step,
            PRIMARY KEY (study_instance_uid, step)
        ) WITHOUT ROWID;
        CREATE TABLE procedure_step_instance (
            step TEXT NOT NULL REFERENCES procedure_step,
            series_instance_uid TEXT NOT NULL,
            sop_instance_uid TEXT NOT NULL,
            PRIMARY KEY (step, series_instance_uid, sop_instance_uid)
        ) WITHOUT ROWID
        """,
    )


@MIGRATIONS()
def completeness(db: Database) -> None:
    """When the last image of each series came; why a study is not read, who asked for it, whether it is read early."""
    create(
        db,
        """
        CREATE TABLE series_arrival (
            study_instance_uid TEXT NOT NULL REFERENCES study,
            series_instance_uid TEXT NOT NULL,
            last_wall TEXT NOT NULL,
            last_boot_s REAL NOT NULL,
            last_boot_id TEXT NOT NULL,
            PRIMARY KEY (study_instance_uid, series_instance_uid)
        ) WITHOUT ROWID;
        ALTER TABLE study ADD COLUMN prior TEXT NOT NULL DEFAULT '';
        ALTER TABLE study ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE study ADD COLUMN early INTEGER NOT NULL DEFAULT 0
        """,
    )


@MIGRATIONS()
def priors(db: Database) -> None:
    """Priors are looked through whenever somebody may have asked for one."""
    create(db, "CREATE INDEX study_prior ON study (study_instance_uid) WHERE prior != '' AND open = 0")
