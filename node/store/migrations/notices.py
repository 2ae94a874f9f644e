"""What reading lists are told of studies, by route."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def notice(db: Database) -> None:
    """One row a study, route and version. `message` is fixed before it leaves for the first time.

    `control_id` names the version towards the receiver. `received_*`: when the study's last instance had come.
    `sent_at`: when it was first given to the line, empty if never. `lag_s`: from there to the acknowledgement.
    """
    create(
        db,
        """
        CREATE TABLE notice (
            id INTEGER PRIMARY KEY,
            study_instance_uid TEXT NOT NULL,
            route TEXT NOT NULL,
            version INTEGER NOT NULL,
            control_id TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL DEFAULT 'queued',
            reason TEXT NOT NULL DEFAULT '',
            because TEXT NOT NULL,
            flag TEXT NOT NULL,
            message BLOB,
            told_at TEXT NOT NULL,
            received_wall TEXT NOT NULL,
            received_boot_s REAL NOT NULL,
            received_boot_id TEXT NOT NULL,
            sent_at TEXT NOT NULL DEFAULT '',
            acknowledged_at TEXT NOT NULL DEFAULT '',
            lag_s REAL,
            attempts INTEGER NOT NULL DEFAULT 0,
            refusals INTEGER NOT NULL DEFAULT 0,
            owner TEXT NOT NULL DEFAULT '',
            boot_id TEXT NOT NULL DEFAULT '',
            lease_boot_s REAL NOT NULL DEFAULT 0,
            not_before_boot_s REAL NOT NULL DEFAULT 0,
            UNIQUE (study_instance_uid, route, version)
        );
        CREATE INDEX notice_waiting ON notice (route) WHERE state IN ('queued', 'sent');
        CREATE INDEX notice_route ON notice (route, acknowledged_at);
        CREATE INDEX study_accession ON study (json_extract("order", '$.accession_number'))
        """,
    )
