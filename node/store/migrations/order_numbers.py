"""Several orders of one study are several, told from each other by their numbers."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def order_numbers(db: Database) -> None:
    """An order has its placer's and its filler's number; those of before have none. `id` stays: facts name it."""
    create(
        db,
        """
        CREATE TABLE told_order_numbered (
            id INTEGER PRIMARY KEY,
            issuer TEXT NOT NULL,
            patient_id TEXT NOT NULL,
            accession_number TEXT NOT NULL,
            study_instance_uid TEXT NOT NULL,
            placer_number TEXT NOT NULL DEFAULT '',
            filler_number TEXT NOT NULL DEFAULT '',
            birth_date TEXT NOT NULL DEFAULT '',
            sex TEXT NOT NULL DEFAULT '',
            priority TEXT NOT NULL DEFAULT '',
            priority_at TEXT NOT NULL DEFAULT '',
            priority_recorded_at TEXT NOT NULL DEFAULT '',
            cancelled INTEGER NOT NULL DEFAULT 0,
            report_state TEXT NOT NULL DEFAULT '',
            report_at TEXT NOT NULL DEFAULT '',
            told_by TEXT NOT NULL,
            recorded_at TEXT NOT NULL,
            UNIQUE (issuer, patient_id, accession_number, study_instance_uid, placer_number, filler_number)
        );
        INSERT INTO told_order_numbered (id, issuer, patient_id, accession_number, study_instance_uid, birth_date, sex,
            priority, priority_at, priority_recorded_at, cancelled, report_state, report_at, told_by, recorded_at)
            SELECT id, issuer, patient_id, accession_number, study_instance_uid, birth_date, sex,
            priority, priority_at, priority_recorded_at, cancelled, report_state, report_at, told_by, recorded_at
            FROM told_order;
        DROP TABLE told_order;
        ALTER TABLE told_order_numbered RENAME TO told_order;
        CREATE INDEX told_order_age ON told_order (recorded_at)
        """,
    )
