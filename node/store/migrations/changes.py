"""What has changed since priors."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def comparisons(db: Database) -> None:
    """One comparison of an outcome with one of a prior; `changes` as JSON (`domain.change.Change`), and how they lie.

    It stands as long as both outcomes are results: whoever reads it asks.
    """
    create(
        db,
        """
        CREATE TABLE comparison (
            id INTEGER PRIMARY KEY,
            outcome_id INTEGER NOT NULL REFERENCES outcome (id),
            prior_outcome_id INTEGER NOT NULL REFERENCES outcome (id),
            made_at TEXT NOT NULL,
            changes TEXT NOT NULL,
            alignment TEXT NOT NULL,
            duration_s REAL NOT NULL,
            UNIQUE (outcome_id, prior_outcome_id)
        );
        CREATE INDEX comparison_prior ON comparison (prior_outcome_id)
        """,
    )
