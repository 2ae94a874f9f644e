"""How many of what stand where: the counts behind `matins status`, and whether the store is sound."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from pathlib import Path

from node.store import instances
from node.store.database import Database
from node.store.spool import Spool


def studies_by_state(db: Database) -> dict[str, int]:
    """Number of studies in each state that occurs."""
    rows = db.rows("SELECT state, count(*) AS number FROM study GROUP BY state ORDER BY state")
    return {row["state"]: row["number"] for row in rows}


def work_by_state(db: Database) -> dict[str, dict[str, int]]:
    """Number of work items: kind → state → count."""
    return _nested(db, "SELECT kind AS one, state AS other, count(*) AS number FROM work_item GROUP BY 1, 2")


def results_by_state(db: Database) -> dict[str, dict[str, int]]:
    """Number of results: destination → state → count."""
    return _nested(db, "SELECT destination AS one, state AS other, count(*) AS number FROM outbox GROUP BY 1, 2")


def damage(db: Database) -> list[str]:
    """What SQLite finds wrong with the database file; empty if it is sound. Reads the whole file."""
    try:
        lines = [str(row[0]) for row in db.rows("PRAGMA integrity_check(20)")]
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        # The page on which the tables themselves stand.
        return [str(error)]
    except UnicodeDecodeError:
        # SQLite's message quotes what is damaged, and that is no text.
        return ["its schema is no text"]
    return [] if lines == ["ok"] else lines


def lost_objects(db: Database) -> list[str]:
    """Indexed objects that are gone, relative to the data folder."""
    spool = Spool(db.folder)
    return sorted(path for path in instances.paths(db, freed=False) if not spool.holds(path))


def unindexed_objects(db: Database, data_folder: Path) -> list[str]:
    """Objects in the spool that no row knows, relative to the data folder."""
    spool = Spool(data_folder)
    indexed = instances.paths(db)
    # What is being filed has a file before its row says so.
    indexed.update(spool.path_for(uid, digest) for uid, digest in instances.in_journal(db))
    return [path for path in spool.objects() if path not in indexed]


def _nested(db: Database, sql: str) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for row in db.rows(f"{sql} ORDER BY 1, 2"):
        counts[row["one"]][row["other"]] = row["number"]
    return dict(counts)
