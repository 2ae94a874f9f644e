"""Where every migration is recorded."""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

MIGRATIONS = Migrations("matins")

# Wall times are ISO 8601 UTC; `*_boot_s` are CLOCK_BOOTTIME seconds of the boot in `boot_id`.


def create(db: Database, script: str) -> None:
    """Run the statements one by one: `executescript` would commit the transaction around us."""
    for statement in script.split(";"):
        if statement.strip():
            db.execute(statement)
