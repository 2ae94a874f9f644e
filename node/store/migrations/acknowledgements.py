"""Who has seen which urgent finding, who may say so, and what the pages ask the other rooms for."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def acknowledgement(db: Database) -> None:
    """One row a finding of a study (model, code, thing), however often it is found.

    `lane`: how urgent it is; empty where it never was. `asked_s`: on the scale of `waiting`. `at_report`: it stood when
    the study was reported; `after_report`: it came afterwards, and is a discrepancy. Times are ISO 8601 UTC.
    """
    create(
        db,
        """
        CREATE TABLE acknowledgement (
            id INTEGER PRIMARY KEY,
            study_instance_uid TEXT NOT NULL REFERENCES study,
            model TEXT NOT NULL,
            code_scheme TEXT NOT NULL,
            code_value TEXT NOT NULL,
            code_meaning TEXT NOT NULL,
            thing TEXT NOT NULL,
            lane TEXT NOT NULL DEFAULT '',
            asked_by TEXT NOT NULL DEFAULT '',
            asked_at TEXT NOT NULL DEFAULT '',
            asked_s REAL NOT NULL DEFAULT 0,
            due_at TEXT NOT NULL DEFAULT '',
            standing INTEGER NOT NULL DEFAULT 0,
            overdue INTEGER NOT NULL DEFAULT 0,
            acknowledged_by TEXT NOT NULL DEFAULT '',
            acknowledged_at TEXT NOT NULL DEFAULT '',
            at_report INTEGER NOT NULL DEFAULT 0,
            after_report INTEGER NOT NULL DEFAULT 0,
            owner TEXT NOT NULL DEFAULT '',
            closed_by TEXT NOT NULL DEFAULT '',
            closed_at TEXT NOT NULL DEFAULT '',
            closed_because TEXT NOT NULL DEFAULT '',
            UNIQUE (study_instance_uid, model, code_scheme, code_value, thing)
        );
        CREATE INDEX acknowledgement_due ON acknowledgement (asked_s)
            WHERE standing = 1 AND closed_by = '' AND (after_report = 1 OR acknowledged_by = '');
        CREATE TABLE escalation (
            acknowledgement_id INTEGER NOT NULL REFERENCES acknowledgement,
            after_report INTEGER NOT NULL,
            after_min REAL NOT NULL,
            route TEXT NOT NULL,
            at TEXT NOT NULL,
            PRIMARY KEY (acknowledgement_id, after_report, after_min, route)
        );
        CREATE INDEX study_held ON study (study_instance_uid) WHERE state = 'held'
        """,
    )


@MIGRATIONS()
def account(db: Database) -> None:
    """Who may log in to the pages; `secret`: how the password was derived, and what came out."""
    create(
        db,
        """
        CREATE TABLE account (
            login TEXT PRIMARY KEY,
            role TEXT NOT NULL,
            secret TEXT NOT NULL,
            created_at TEXT NOT NULL
        )
        """,
    )


@MIGRATIONS()
def request(db: Database) -> None:
    """What somebody asks for on a page, and another room does."""
    create(
        db,
        """
        CREATE TABLE request (
            id INTEGER PRIMARY KEY,
            study_instance_uid TEXT NOT NULL,
            report_state TEXT NOT NULL,
            login TEXT NOT NULL,
            asked_at TEXT NOT NULL,
            done_at TEXT NOT NULL DEFAULT ''
        );
        CREATE INDEX request_open ON request (id) WHERE done_at = ''
        """,
    )
