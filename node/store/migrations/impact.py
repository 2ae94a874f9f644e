"""What triage did to waiting times, week by week."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def impact_week(db: Database) -> None:
    """One row a week that is over: `week` as 2026-W47, `body` its figures as JSON."""
    create(
        db,
        """
        CREATE TABLE impact_week (
            week TEXT PRIMARY KEY,
            studies INTEGER NOT NULL,
            body TEXT NOT NULL,
            recorded_at TEXT NOT NULL
        );
        CREATE INDEX study_reported ON study (report_told_at) WHERE report_state = 'final'
        """,
    )
