"""A damaged database: found out before the rooms open it, and put aside, so that the index can be made anew."""

from __future__ import annotations

import sqlite3
import time
from datetime import datetime
from pathlib import Path

from node.store.database import FILE_NAME
from node.store.files import sync_folder

#: How long the check may take; what is larger than can be read in that time is believed to be sound.
_LIMIT_S = 2.0
#: SQLite's instructions between two looks at the clock.
_STEPS = 10_000
_SIDE_FILES = ("", "-wal", "-shm")


def damage(data_folder: Path, *, limit_s: float = _LIMIT_S) -> str:
    """What is wrong with the database file, or "" where nothing is, as far as can be told in `limit_s` seconds."""
    file = data_folder / FILE_NAME
    if not file.is_file():
        return ""
    connection = sqlite3.connect(file, timeout=limit_s)
    deadline_s = time.monotonic() + limit_s
    connection.text_factory = lambda text: text.decode(errors="replace")
    connection.set_progress_handler(lambda: time.monotonic() > deadline_s, _STEPS)
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
    except sqlite3.OperationalError:
        # Interrupted, or held by another process: whoever opens it next will tell.
        return ""
    except sqlite3.DatabaseError as error:
        return str(error)
    except UnicodeDecodeError:
        # SQLite's message quotes what is damaged, and that is no text.
        return "its schema is no text"
    finally:
        connection.close()
    return "" if found == ["ok"] else found[0].splitlines()[0]


def put_aside(data_folder: Path, now: datetime) -> Path:
    """Give the database file and what belongs to it another name, and return it; only while nobody has it open.

    Raises:
        OSError: the folder cannot be written.
    """
    aside = data_folder / f"{FILE_NAME}.damaged-{now:%Y%m%dT%H%M%S}"
    for side in _SIDE_FILES:
        file = data_folder / f"{FILE_NAME}{side}"
        if file.exists():
            file.rename(f"{aside}{side}")
    sync_folder(data_folder)
    return aside
