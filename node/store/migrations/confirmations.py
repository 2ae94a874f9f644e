"""What destinations promise to keep, and as whom they file a study."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def commitments(db: Database) -> None:
    """Requests for storage commitment with what each is about; how far the confirmation of each result has come."""
    create(
        db,
        """
        CREATE TABLE commitment (
            transaction_uid TEXT PRIMARY KEY,
            destination TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'asked',
            reason TEXT NOT NULL DEFAULT '',
            asked_at TEXT NOT NULL,
            reported_at TEXT NOT NULL DEFAULT ''
        );
        CREATE TABLE commitment_result (
            transaction_uid TEXT NOT NULL REFERENCES commitment,
            outbox_id INTEGER NOT NULL REFERENCES outbox,
            PRIMARY KEY (transaction_uid, outbox_id)
        ) WITHOUT ROWID;
        CREATE INDEX commitment_result_outbox ON commitment_result (outbox_id);
        ALTER TABLE outbox ADD COLUMN confirmation TEXT NOT NULL DEFAULT '';
        ALTER TABLE outbox ADD COLUMN questions INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE outbox ADD COLUMN resends INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE outbox ADD COLUMN committed_at TEXT NOT NULL DEFAULT '';
        CREATE INDEX outbox_unconfirmed ON outbox (destination, boot_id, not_before_boot_s)
            WHERE state = 'sent' AND confirmation != 'ended'
        """,
    )


@MIGRATIONS()
def reconciliations(db: Database) -> None:
    """As whom a destination files a study, as it was asked; and which results were rebuilt with its values."""
    create(
        db,
        """
        CREATE TABLE reconciliation (
            study_instance_uid TEXT NOT NULL REFERENCES study,
            destination TEXT NOT NULL,
            revision INTEGER NOT NULL,
            ours TEXT NOT NULL,
            filed TEXT NOT NULL,
            questions INTEGER NOT NULL DEFAULT 1,
            asked_at TEXT NOT NULL,
            asked_boot_s REAL NOT NULL,
            boot_id TEXT NOT NULL,
            PRIMARY KEY (study_instance_uid, destination)
        ) WITHOUT ROWID;
        CREATE TABLE corrected_artifact (
            artifact_id INTEGER PRIMARY KEY REFERENCES artifact,
            ours TEXT NOT NULL,
            corrections TEXT NOT NULL,
            corrected_by TEXT NOT NULL
        )
        """,
    )
