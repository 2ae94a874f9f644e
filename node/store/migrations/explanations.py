"""What is kept of a map of what a model looked at."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def accounts(db: Database) -> None:
    """How a file was made and how far it is to be trusted, as JSON (`imaging.saliency.Account`); empty: not said."""
    create(db, "ALTER TABLE artifact ADD COLUMN account TEXT NOT NULL DEFAULT ''")
