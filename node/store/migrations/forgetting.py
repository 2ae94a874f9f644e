"""What old rows are found by, to be forgotten."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def old_rows(db: Database) -> None:
    """Of facts those that were superseded, by when and by what; notices and questions by when they were made."""
    create(
        db,
        """
        CREATE INDEX history_superseded ON history (superseded_at) WHERE superseded_by IS NOT NULL;
        CREATE INDEX history_newer ON history (superseded_by) WHERE superseded_by IS NOT NULL;
        CREATE INDEX notice_age ON notice (told_at);
        CREATE INDEX history_inquiry_age ON history_inquiry (asked_wall)
        """,
    )


@MIGRATIONS()
def old_words(db: Database) -> None:
    """Steps that are over, orders and words of sources by when that was; and what may rest on them."""
    create(
        db,
        """
        CREATE INDEX performance_ended ON performance (ended_at) WHERE ended_at != '';
        CREATE INDEX told_order_age ON told_order (recorded_at);
        CREATE INDEX telling_age ON telling (told_at);
        CREATE INDEX expected_study_accession ON expected_study (accession_number);
        CREATE INDEX identity_move_of ON identity_move (issuer, patient_id);
        CREATE INDEX identity_move_to ON identity_move (issuer, survivor_id)
        """,
    )
