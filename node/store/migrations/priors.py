"""Priors: which were found and which taken, and what is read from their reports and segmentations."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def prior_candidates(db: Database) -> None:
    """What became of each study that an archive told of when priors of another were looked for; the last look stands.

    A retrieval may be of some series alone: `wanted` as JSON (`domain.retrieval.Wanted`), empty for everything.
    """
    create(
        db,
        """
        ALTER TABLE retrieval ADD COLUMN wanted TEXT NOT NULL DEFAULT '';
        CREATE TABLE prior_candidate (
            study_instance_uid TEXT NOT NULL,
            candidate_uid TEXT NOT NULL,
            ordinal INTEGER NOT NULL,
            archive TEXT NOT NULL,
            study_date TEXT NOT NULL,
            modalities TEXT NOT NULL,
            standing TEXT NOT NULL,
            selector TEXT NOT NULL,
            reason TEXT NOT NULL,
            looked_at TEXT NOT NULL,
            PRIMARY KEY (study_instance_uid, candidate_uid)
        ) WITHOUT ROWID
        """,
    )


@MIGRATIONS()
def prior_documents(db: Database) -> None:
    """Structured Reports and segmentations as they were read back; `texts` as JSON, `findings` of each in a row.

    `belongs_to`: the patient of its study, as JSON, when it was read. One object has one row, its newest version.
    """
    create(
        db,
        """
        CREATE TABLE prior_document (
            sop_instance_uid TEXT PRIMARY KEY,
            instance_id INTEGER NOT NULL,
            study_instance_uid TEXT NOT NULL,
            kind TEXT NOT NULL,
            title TEXT NOT NULL,
            completion TEXT NOT NULL,
            verification TEXT NOT NULL,
            preliminary TEXT NOT NULL,
            made_by TEXT NOT NULL,
            by_device INTEGER NOT NULL,
            ours INTEGER NOT NULL,
            document_date TEXT NOT NULL,
            texts TEXT NOT NULL,
            facts INTEGER NOT NULL,
            state TEXT NOT NULL,
            reason TEXT NOT NULL,
            belongs_to TEXT NOT NULL,
            told_of TEXT NOT NULL,
            read_at TEXT NOT NULL
        );
        CREATE INDEX prior_document_study ON prior_document (study_instance_uid);
        CREATE TABLE prior_finding (
            id INTEGER PRIMARY KEY,
            sop_instance_uid TEXT NOT NULL REFERENCES prior_document (sop_instance_uid) ON DELETE CASCADE,
            study_instance_uid TEXT NOT NULL,
            ordinal INTEGER NOT NULL,
            body TEXT NOT NULL
        );
        CREATE INDEX prior_finding_study ON prior_finding (study_instance_uid);
        CREATE INDEX prior_finding_document ON prior_finding (sop_instance_uid)
        """,
    )
