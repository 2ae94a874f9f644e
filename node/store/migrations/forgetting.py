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
