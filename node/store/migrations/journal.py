"""How far the journal is indexed, and what of an object its record says."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def journal(db: Database) -> None:
    """The checkpoint stands in the transaction of the rows that it vouches for."""
    create(
        db,
        """
        CREATE TABLE journal_checkpoint (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            segment INTEGER NOT NULL,
            nonce TEXT NOT NULL,
            "offset" INTEGER NOT NULL
        );
        ALTER TABLE instance ADD COLUMN retrieved INTEGER NOT NULL DEFAULT 0
        """,
    )
