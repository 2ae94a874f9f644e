"""What was asked of which FHIR server about whom, when, and what came of it."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def history_inquiry(db: Database) -> None:
    """The newest answer to each question, so that an empty answer is told from no answer.

    `study_instance_uid` is empty where the question is about the patient, and no study of theirs. `digest` is of the
    question and of whom the answer was about; `etag` holds for both alone.
    """
    create(
        db,
        """
        CREATE TABLE history_inquiry (
            server TEXT NOT NULL,
            resource TEXT NOT NULL,
            patient_id TEXT NOT NULL,
            issuer TEXT NOT NULL,
            study_instance_uid TEXT NOT NULL DEFAULT '',
            state TEXT NOT NULL,
            facts INTEGER NOT NULL DEFAULT 0,
            reason TEXT NOT NULL DEFAULT '',
            etag TEXT NOT NULL DEFAULT '',
            digest TEXT NOT NULL DEFAULT '',
            asked_wall TEXT NOT NULL,
            asked_boot_s REAL NOT NULL,
            asked_boot_id TEXT NOT NULL,
            PRIMARY KEY (server, resource, patient_id, issuer, study_instance_uid)
        );
        CREATE INDEX history_inquiry_patient ON history_inquiry (patient_id, issuer)
        """,
    )
