"""How far the journal is indexed: written in the transaction of the rows that it vouches for."""

from __future__ import annotations

from typing import NamedTuple

from node.store.database import Database
from node.store.segment import FOLDER, Use, name_of


class Checkpoint(NamedTuple):
    """Everything of the journal that lies before it is indexed."""

    use: Use
    offset: int

    @property
    def is_between(self) -> bool:
        """Whether it stands in front of a segment that was not begun when it was written: one without a nonce."""
        return not self.use.nonce


def before(number: int) -> Checkpoint:
    """The checkpoint in front of a segment that is not begun yet."""
    return Checkpoint(Use(number, b""), 0)


def read(db: Database) -> Checkpoint | None:
    """The checkpoint; `None` in a database that has never seen a journal."""
    row = db.row('SELECT segment, nonce, "offset" FROM journal_checkpoint')
    return Checkpoint(Use(row["segment"], bytes.fromhex(row["nonce"])), row["offset"]) if row else None


def write(db: Database, use: Use, offset: int) -> None:
    """Move the checkpoint, inside the transaction that writes the rows."""
    db.execute(
        'INSERT INTO journal_checkpoint (id, segment, nonce, "offset") VALUES (1, ?, ?, ?) ON CONFLICT (id) DO UPDATE'
        ' SET segment = excluded.segment, nonce = excluded.nonce, "offset" = excluded."offset"',
        (use.number, use.nonce.hex(), offset),
    )


def is_needed(db: Database, number: int) -> bool:
    """Whether any instance lies in this segment."""
    start = f"{FOLDER}/{name_of(number)}@"
    return db.row("SELECT 1 FROM instance WHERE path >= ? AND path < ? LIMIT 1", (start, f"{start}~")) is not None


def highest_named(db: Database) -> int:
    """The highest number of a segment that the database knows of; 0 if none."""
    row = db.row("SELECT max(path) AS last FROM instance WHERE path >= ? AND path < ?", (f"{FOLDER}/", f"{FOLDER}/~"))
    last = row["last"] if row else None
    number = int(last.removeprefix(f"{FOLDER}/").partition(".")[0]) if last else 0
    checkpoint = read(db)
    return max(number, checkpoint.use.number - checkpoint.is_between if checkpoint else 0)
