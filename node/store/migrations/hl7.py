"""What hospital systems tell by HL7 v2: messages, who is whom, and orders."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def hl7_messages(db: Database) -> None:
    """Messages as they came, each until it has been acted upon, and after that to recognise it when it comes again."""
    create(
        db,
        """
        CREATE TABLE hl7_message (
            id INTEGER PRIMARY KEY,
            sender TEXT NOT NULL,
            control_id TEXT NOT NULL,
            digest TEXT NOT NULL,
            kind TEXT NOT NULL,
            state TEXT NOT NULL,
            reason TEXT NOT NULL DEFAULT '',
            content BLOB NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            received_at TEXT NOT NULL,
            changed_at TEXT NOT NULL,
            UNIQUE (sender, control_id, digest)
        );
        CREATE INDEX hl7_message_waiting ON hl7_message (id) WHERE state = 'received';
        CREATE INDEX hl7_message_age ON hl7_message (received_at)
        """,
    )


@MIGRATIONS()
def identities(db: Database) -> None:
    """Which identifiers are one patient's, and whom other systems say that an identifier means.

    `identity_former`: birth dates and sexes that were corrected, so that what was told under them is still theirs.
    `telling`: how recent the latest word of a source is, so that a message that comes late undoes nothing.
    """
    create(
        db,
        """
        CREATE TABLE identity_move (
            id INTEGER PRIMARY KEY,
            issuer TEXT NOT NULL,
            patient_id TEXT NOT NULL,
            survivor_id TEXT NOT NULL,
            told_by TEXT NOT NULL,
            recorded_at TEXT NOT NULL,
            ended_by TEXT NOT NULL DEFAULT '',
            ended_at TEXT NOT NULL DEFAULT ''
        );
        CREATE UNIQUE INDEX identity_moved ON identity_move (issuer, patient_id) WHERE ended_at = '';
        CREATE INDEX identity_survivor ON identity_move (issuer, survivor_id) WHERE ended_at = '';
        CREATE TABLE identity_told (
            issuer TEXT NOT NULL,
            patient_id TEXT NOT NULL,
            name TEXT NOT NULL,
            birth_date TEXT NOT NULL,
            sex TEXT NOT NULL,
            told_by TEXT NOT NULL,
            recorded_at TEXT NOT NULL,
            PRIMARY KEY (issuer, patient_id)
        );
        CREATE TABLE identity_former (
            issuer TEXT NOT NULL,
            patient_id TEXT NOT NULL,
            what TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (issuer, patient_id, what, value)
        );
        CREATE TABLE telling (
            origin TEXT NOT NULL,
            issuer TEXT NOT NULL,
            patient_id TEXT NOT NULL,
            told_at TEXT NOT NULL,
            PRIMARY KEY (origin, issuer, patient_id)
        )
        """,
    )


@MIGRATIONS()
def orders(db: Database) -> None:
    """What a RIS says of an order, whether or not its study is here; the newest word on each."""
    create(
        db,
        """
        CREATE TABLE told_order (
            id INTEGER PRIMARY KEY,
            issuer TEXT NOT NULL,
            patient_id TEXT NOT NULL,
            accession_number TEXT NOT NULL,
            study_instance_uid TEXT NOT NULL,
            birth_date TEXT NOT NULL DEFAULT '',
            sex TEXT NOT NULL DEFAULT '',
            priority TEXT NOT NULL DEFAULT '',
            priority_at TEXT NOT NULL DEFAULT '',
            priority_recorded_at TEXT NOT NULL DEFAULT '',
            cancelled INTEGER NOT NULL DEFAULT 0,
            report_state TEXT NOT NULL DEFAULT '',
            told_by TEXT NOT NULL,
            recorded_at TEXT NOT NULL,
            UNIQUE (issuer, patient_id, accession_number, study_instance_uid)
        )
        """,
    )


@MIGRATIONS()
def told_report_time(db: Database) -> None:
    """When the state of a report was told: a study that was made later is not the one that was read."""
    create(db, "ALTER TABLE told_order ADD COLUMN report_at TEXT NOT NULL DEFAULT ''")
