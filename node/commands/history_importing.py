"""`history import`: facts from a CSV or SQLite table, all or none, as often as one likes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from node.commands.output import print_json, progress, say
from node.commands.site import opened
from node.config import Settings
from node.domain.patient import Patient
from node.domain.time import SystemClock
from node.errors import Failed
from node.retrieve.table import Mistake, Table, read_table
from node.store import history
from node.store.database import Database
from node.workflow.history import learn
from node.workflow.policy import load_policy

#: Mistakes that are named; the rest is counted.
_NAMED = 20


def import_table(
    settings: Settings, file: Path, *, table: str = "", sound_rows: bool = False, dry_run: bool = False, as_json: bool
) -> None:
    """Keep what a table tells, in place of what a table of this name told before.

    Raises:
        Misconfigured: the file as a whole cannot be read.
        Failed: rows are wrong, and `sound_rows` is not asked for: nothing was kept.
    """
    found = read_table(file, table=table)
    if not as_json:
        _name(file, found.mistakes)
    refused = bool(found.mistakes) and not (sound_rows and found.facts)
    studies: set[str] = set()
    gone: list[Patient] = []
    if not refused:
        with opened(settings) as db:
            told = {_key(each): each for each in history.patients_told(db, found.source)}
            gone = [each for key, each in told.items() if key not in found.facts]
            if not dry_run:
                studies = _keep(db, settings, found, gone, as_json=as_json)
    if as_json:
        print_json(_document(found, len(gone), studies, dry_run=dry_run, refused=refused))
    many = sum(len(facts) for _, facts in found.facts.values())
    if refused:
        raise Failed(f"{len(found.mistakes)} of {found.rows} rows of {file.name} are wrong; nothing is kept")
    if not as_json:
        verb = "would be kept" if dry_run else "kept"
        kept = f"{many} fact(s) of {len(found.facts)} patient(s) {verb}, {len(found.mistakes)} row(s) left out"
        taken_back = f"; {len(gone)} patient(s) are no longer in it" if gone else ""
        say(f"{kept}{taken_back}" + ("" if dry_run else f"; {len(studies)} waiting studies looked at anew"))


def _keep(db: Database, settings: Settings, found: Table, gone: Iterable[Patient], *, as_json: bool) -> set[str]:
    """Keep it patient by patient: each is short, and whoever breaks it off starts it again."""
    policy, clock, studies = load_policy(settings), SystemClock(), set[str]()
    wanted = [*found.facts.values(), *((patient, ()) for patient in gone)]
    showing = nullcontext(_say_nothing) if as_json else progress("patients", lambda: len(wanted))
    with showing as advance:
        for patient, facts in wanted:
            with db.transaction():
                studies.update(learn(db, clock.now(), policy, patient, facts, origin=found.source))
            advance()
    return studies


def _say_nothing() -> None:
    pass


def _key(patient: Patient) -> tuple[str, str]:
    return patient.issuer, patient.patient_id


def _name(file: Path, mistakes: tuple[Mistake, ...]) -> None:
    for each in mistakes[:_NAMED]:
        where = f"{file.name}:{each.line}: {each.column}" if each.column else f"{file.name}:{each.line}"
        say(f"{where}: {each.problem}. {each.remedy}")
    if len(mistakes) > _NAMED:
        say(f"{len(mistakes) - _NAMED} more rows are wrong; --json names them all")


def _document(found: Table, gone: int, studies: set[str], *, dry_run: bool, refused: bool) -> dict[str, object]:
    return {
        "source": found.source,
        "dry_run": dry_run,
        "kept": not refused and not dry_run,
        "rows": found.rows,
        "facts": sum(len(facts) for _, facts in found.facts.values()),
        "patients": len(found.facts),
        "patients_no_longer_told": gone,
        "study_instance_uids": sorted(studies),
        "mistakes": [asdict(each) for each in found.mistakes],
    }
