"""Work that others ask of us by a Unified Procedure Step."""

from __future__ import annotations

from sqlite_utils import Database

from node.store.migrations.registry import MIGRATIONS, create


@MIGRATIONS()
def performances(db: Database) -> None:
    """`manager`: name of the peer whose step it is, empty for our own list. `told`: the state it was last told of."""
    create(
        db,
        """
        CREATE TABLE performance (
            id INTEGER PRIMARY KEY,
            manager TEXT NOT NULL,
            ups TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'offered',
            transaction_uid TEXT NOT NULL,
            study_instance_uid TEXT NOT NULL DEFAULT '',
            step TEXT NOT NULL DEFAULT '{}',
            retrieval_id INTEGER NOT NULL DEFAULT 0,
            code TEXT NOT NULL DEFAULT '',
            reason TEXT NOT NULL DEFAULT '',
            told TEXT NOT NULL DEFAULT '',
            watched INTEGER NOT NULL DEFAULT 0,
            cancel_asked TEXT NOT NULL DEFAULT '',
            found_wall TEXT NOT NULL,
            found_boot_s REAL NOT NULL,
            found_boot_id TEXT NOT NULL,
            ended_at TEXT NOT NULL DEFAULT '',
            UNIQUE (manager, ups)
        );
        CREATE INDEX performance_open ON performance (manager, state)
        """,
    )
