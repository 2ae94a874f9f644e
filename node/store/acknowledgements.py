"""Acknowledgements: who has seen which urgent finding, and when; discrepancies: what came after the report."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from node.domain.acknowledgement import FindingKey
from node.domain.finding import Code
from node.domain.priority import Lane
from node.domain.time import Instant
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """One finding of one study, and who has seen it."""

    id: int
    study_instance_uid: str
    key: FindingKey
    code: Code
    #: How urgent it is; `None` where it never was.
    lane: Lane | None
    #: The rule or route that asks for it.
    asked_by: str
    asked_at: str
    #: On the scale of `waiting`, seconds.
    asked_s: float
    #: ISO 8601 UTC; empty where no time is set.
    due_at: str
    #: It is found by what stands now, and asks for somebody.
    standing: bool
    overdue: bool
    acknowledged_by: str
    acknowledged_at: str
    #: It stood when the study was reported.
    at_report: bool
    #: It came after the report: a discrepancy.
    after_report: bool
    owner: str
    closed_by: str
    closed_at: str
    closed_because: str

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to see to it."""
        return self.standing and not (self.closed_by if self.after_report else self.acknowledged_by)


def ask(
    db: Database,
    now: Instant,
    study: str,
    key: FindingKey,
    code: Code,
    *,
    lane: Lane,
    asked_by: str,
    asked_s: float,
    due_at: str,
    after_report: bool = False,
    owner: str = "",
) -> None:
    """Ask for somebody to see a finding, in the caller's transaction; one that is known is asked for anew."""
    db.execute(
        "INSERT INTO acknowledgement (study_instance_uid, model, code_scheme, code_value, thing, code_meaning, lane,"
        " asked_by, asked_at, asked_s, due_at, standing, after_report, owner)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET lane = excluded.lane,"
        " asked_by = excluded.asked_by, asked_at = excluded.asked_at, asked_s = excluded.asked_s,"
        " due_at = excluded.due_at, standing = 1, overdue = 0, after_report = excluded.after_report,"
        " owner = excluded.owner",
        (
            *(study, *_values(key), code.meaning, lane, asked_by, now.iso, asked_s, due_at),
            *(after_report, owner),
        ),
    )


def stand(db: Database, acknowledgement_id: int, lane: Lane, asked_by: str, due_at: str) -> None:
    """The finding stands, as urgent as this; what was said of it stays said."""
    db.execute(
        "UPDATE acknowledgement SET standing = 1, lane = ?, asked_by = ?, due_at = ? WHERE id = ?",
        (lane, asked_by, due_at, acknowledgement_id),
    )


def fall(db: Database, acknowledgement_id: int) -> None:
    """The finding asks for nobody any more."""
    db.execute("UPDATE acknowledgement SET standing = 0, overdue = 0 WHERE id = ?", (acknowledgement_id,))


def record_report(db: Database, study: str, key: FindingKey, code: Code) -> None:
    """The finding stands while the study is reported."""
    db.execute(
        "INSERT INTO acknowledgement (study_instance_uid, model, code_scheme, code_value, thing, code_meaning,"
        " at_report) VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET at_report = 1",
        (study, *_values(key), code.meaning),
    )


def acknowledge(db: Database, now: Instant, acknowledgement_id: int, by: str) -> bool:
    """Keep who has seen it; `False` if somebody had already."""
    made = db.execute(
        "UPDATE acknowledgement SET acknowledged_by = ?, acknowledged_at = ?, overdue = 0"
        " WHERE id = ? AND acknowledged_by = ''",
        (by, now.iso, acknowledgement_id),
    )
    return bool(made.rowcount)


def close(db: Database, now: Instant, acknowledgement_id: int, by: str, because: str) -> bool:
    """Keep who has settled a discrepancy, and how; `False` if somebody had already."""
    made = db.execute(
        "UPDATE acknowledgement SET closed_by = ?, closed_at = ?, closed_because = ?, overdue = 0"
        " WHERE id = ? AND after_report = 1 AND closed_by = ''",
        (by, now.iso, because, acknowledgement_id),
    )
    return bool(made.rowcount)


def mark_overdue(db: Database, acknowledgement_id: int) -> None:
    """Its time is over."""
    db.execute("UPDATE acknowledgement SET overdue = 1 WHERE id = ?", (acknowledgement_id,))


def record_step(db: Database, now: Instant, row: Acknowledgement, after_min: float, route: str) -> None:
    """Keep that a step of the escalation was taken."""
    db.execute(
        "INSERT OR IGNORE INTO escalation (acknowledgement_id, after_report, after_min, route, at)"
        " VALUES (?, ?, ?, ?, ?)",
        (row.id, row.after_report, after_min, route, now.iso),
    )


def steps_taken(db: Database, row: Acknowledgement) -> set[tuple[float, str]]:
    """(after_min, route) of the steps that were taken."""
    rows = db.rows(
        "SELECT after_min, route FROM escalation WHERE acknowledgement_id = ? AND after_report = ?",
        (row.id, row.after_report),
    )
    return {(each["after_min"], each["route"]) for each in rows}


def of_study(db: Database, study: str) -> list[Acknowledgement]:
    """Every finding of a study that was ever asked for, or stood at its report, oldest first."""
    return _rows(db, "WHERE study_instance_uid = ? ORDER BY id", (study,))


def standing_of(db: Database, uids: Sequence[str]) -> dict[str, list[Acknowledgement]]:
    """By study, what asks for somebody or did when it was acknowledged; discrepancies are not among them."""
    where = (
        "WHERE study_instance_uid IN (SELECT value FROM json_each(?)) AND standing = 1 AND after_report = 0 ORDER BY id"
    )
    found: dict[str, list[Acknowledgement]] = {uid: [] for uid in uids}
    for each in _rows(db, where, (json.dumps(list(uids)),)):
        found[each.study_instance_uid].append(each)
    return found


def waiting(db: Database, study: str = "") -> list[Acknowledgement]:
    """What somebody still has to see, longest first: of studies that wait for a report, and discrepancies.

    Held studies and priors are quiet.
    """
    where = (
        f"JOIN study s USING (study_instance_uid) WHERE {_WAITS} AND s.state != 'held' AND s.prior = ''"
        " AND (a.after_report = 1 OR s.report_state != 'final') AND (? = '' OR study_instance_uid = ?)"
        " ORDER BY a.asked_s, a.id"
    )
    return _rows(db, where, (study, study))


_WAITS = "a.standing = 1 AND a.closed_by = '' AND (a.after_report = 1 OR a.acknowledged_by = '')"


def discrepancies(db: Database, *, every: bool = False) -> list[Acknowledgement]:
    """Findings that came after the report, oldest first; `every`: those too that are closed or stand no longer."""
    where = "after_report = 1" if every else "after_report = 1 AND standing = 1 AND closed_by = ''"
    return _rows(db, f"WHERE {where} ORDER BY asked_s, id", ())


def one(db: Database, acknowledgement_id: int) -> Acknowledgement | None:
    """One of them."""
    found = _rows(db, "WHERE id = ?", (acknowledgement_id,))
    return found[0] if found else None


def _values(key: FindingKey) -> tuple[str, str, str, str]:
    return (key.model, key.code_scheme, key.code_value, key.thing)


def _rows(db: Database, where: str, values: Sequence[str | int]) -> list[Acknowledgement]:
    return [_row(row) for row in db.rows(f"SELECT a.* FROM acknowledgement a {where}", values)]


def _row(row: sqlite3.Row) -> Acknowledgement:
    plain = {
        name: row[name]
        for name in ("id", "study_instance_uid", "asked_by", "asked_at", "asked_s", "due_at", "acknowledged_by",
                     "acknowledged_at", "owner", "closed_by", "closed_at", "closed_because")
    }  # fmt: skip
    key = FindingKey(
        model=row["model"], code_scheme=row["code_scheme"], code_value=row["code_value"], thing=row["thing"]
    )
    return Acknowledgement(
        **plain,
        key=key,
        code=Code(row["code_value"], row["code_scheme"], row["code_meaning"]),
        lane=Lane(row["lane"]) if row["lane"] else None,
        standing=bool(row["standing"]),
        overdue=bool(row["overdue"]),
        at_report=bool(row["at_report"]),
        after_report=bool(row["after_report"]),
    )
