"""History in a table, CSV or SQLite: a row a fact, checked row by row, with the line and the remedy of each mistake."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from node.domain.coding_systems import PREFIXES, is_coded
from node.domain.history import TOPICS, Fact, Standing
from node.domain.patient import Patient, conflict
from node.errors import Misconfigured
from node.store import foreign_table

#: Columns, and which of them a file may lack.
REQUIRED = ("patient_id", "issuer", "topic", "value")
OPTIONAL = ("birth_date", "sex", "unit", "coded", "standing", "observed_at", "ended_at")
#: Facts of one patient: all of them are looked at whenever a study of that patient is ranked.
MOST_FACTS = 5000
_LONGEST = {"patient_id": 64, "issuer": 64, "unit": 64, "value": 500}
_SEXES = {"": "", "m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O"}
_PART_OF_A_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2]))?", re.ASCII)
_BIRTH_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})", re.ASCII)
_DELIMITERS = ",;\t"
_DAY = 10
#: Under which the values stand for which the header has no column.
_BEYOND = "\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong with one row."""

    #: Line of the CSV file, or number of the row in the SQLite table; both from 1, a CSV's header is line 1.
    line: int
    column: str
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What a table tells, by patient, and what is wrong with it."""

    #: What its facts call their source.
    source: str
    rows: int
    facts: Mapping[tuple[str, str], tuple[Patient, tuple[Fact, ...]]]
    mistakes: tuple[Mistake, ...]


@dataclass(slots=True)
class _Wrong(ValueError):
    column: str
    problem: str
    remedy: str


@dataclass(slots=True)
class _Patients:
    """Patients of the table, each with the line that named them first."""

    first: dict[tuple[str, str], tuple[Patient, int]] = field(default_factory=dict)
    facts: dict[tuple[str, str], list[Fact]] = field(default_factory=dict)

    def add(self, line: int, patient: Patient, fact: Fact) -> None:
        """Take one row.

        Raises:
            _Wrong: another row says something else of the same patient, or there are too many.
        """
        key = (patient.issuer, patient.patient_id)
        known, first = self.first.setdefault(key, (patient, line))
        doubt = conflict(known, patient)
        if doubt:
            raise _Wrong("patient_id", f"{doubt} from line {first}", "One Patient ID is one patient: correct either")
        if len(self.facts.get(key, ())) >= MOST_FACTS:
            raise _Wrong("patient_id", f"more than {MOST_FACTS} rows of one patient", "Leave out what no rule asks for")
        known = Patient(
            patient_id=patient.patient_id,
            issuer=patient.issuer,
            birth_date=known.birth_date or patient.birth_date,
            sex=known.sex or patient.sex,
        )
        self.first[key] = (known, first)
        self.facts.setdefault(key, []).append(fact)


def read_table(file: Path, *, table: str = "") -> Table:
    """Read a .csv file, or a table of an SQLite file.

    Raises:
        Misconfigured: the file as a whole cannot be read, or lacks a column.
    """
    is_sqlite = foreign_table.is_sqlite(file)
    if table and not is_sqlite:
        raise Misconfigured(file, "--table", "it is no SQLite file", "Leave --table out for a CSV file")
    if not file.name.isprintable():
        raise Misconfigured(file, "", "its name cannot be printed", "Rename it: the facts call their source so")
    source = f"table {file.name}" + (f" {table}" if table else "")
    patients, mistakes, count = _Patients(), [], 0
    for line, row in foreign_table.rows(file, table) if is_sqlite else _csv_rows(file):
        if count == 0:
            _check_columns(file, row)
        count += 1
        try:
            patients.add(line, *_read(row, source))
        except _Wrong as wrong:
            mistakes.append(Mistake(line=line, column=wrong.column, problem=wrong.problem, remedy=wrong.remedy))
    if not count:
        raise Misconfigured(file, "", "it has no rows", "Give it a header and a row a fact")
    facts = {key: (patients.first[key][0], tuple(found)) for key, found in patients.facts.items()}
    return Table(source=source, rows=count, facts=facts, mistakes=tuple(mistakes))


def _csv_rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row with its line.

    Raises:
        Misconfigured: it is no CSV file in UTF-8.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            delimiter = max(_DELIMITERS, key=header.count)
            reader = csv.DictReader(stream, delimiter=delimiter, strict=True, restkey=_BEYOND, restval="")
            for row in reader:
                plain = {str(name).strip().lower(): str(value) for name, value in row.items() if name != _BEYOND}
                yield reader.line_num, plain | ({_BEYOND: "yes"} if _BEYOND in row else {})
    except UnicodeDecodeError:
        raise Misconfigured(file, "", "it is not written in UTF-8", "Save it as CSV UTF-8") from None
    except csv.Error as error:
        raise Misconfigured(file, "", f"no sound CSV file: {error}", "Save it again as CSV UTF-8") from None
    except OSError as error:
        raise Misconfigured(file, "", str(error.strerror), "Name a file that can be read") from None


def _check_columns(file: Path, row: Mapping[str, object]) -> None:
    missing = [name for name in REQUIRED if name not in row]
    unknown = [name for name in row if name != _BEYOND and name not in (*REQUIRED, *OPTIONAL)]
    if missing:
        raise Misconfigured(file, ", ".join(missing), "no such column", f"It needs {', '.join(REQUIRED)}")
    if unknown:
        remedy = f"Rename or remove it; columns are {', '.join((*REQUIRED, *OPTIONAL))}"
        raise Misconfigured(file, ", ".join(unknown), "unknown column", remedy)


def _read(row: Mapping[str, str], source: str) -> tuple[Patient, Fact]:
    """One row.

    Raises:
        _Wrong: with what is wrong.
    """
    if _BEYOND in row:
        raise _Wrong(
            "",
            "it has more values than the header has columns",
            "Put quotes around a value that has the delimiter in it",
        )
    plain = {name: _text(name, row.get(name, "")) for name in (*REQUIRED, *OPTIONAL)}
    patient = Patient(
        patient_id=plain["patient_id"],
        issuer=plain["issuer"],
        birth_date=_birth_date(plain["birth_date"]),
        sex=_sex(plain["sex"]),
    )
    if not patient.is_identified:
        raise _Wrong("patient_id", "it stands for nobody in particular", "Give the Patient ID, or leave the row out")
    if not patient.issuer:
        raise _Wrong("issuer", "it is empty", "Say who issued the Patient ID, as the peers' `issuer` does")
    if plain["topic"] not in TOPICS:
        raise _Wrong("topic", "it is none that is known", f"Choose one of {', '.join(sorted(TOPICS))}")
    if not (plain["value"] or plain["coded"]):
        raise _Wrong("value", "it is empty, and so is coded", "Say what it is: what is not known has no row")
    if plain["coded"] and not is_coded(plain["coded"]):
        prefixes = ", ".join(f"{each}:" for each in sorted(PREFIXES))
        raise _Wrong("coded", "it is no code with its system", f"Write it as SCT:372571002; systems are {prefixes}")
    begun, ended = _moment("observed_at", plain["observed_at"]), _moment("ended_at", plain["ended_at"])
    if begun and ended and ended[:_DAY] < begun[: len(ended[:_DAY])]:
        raise _Wrong("ended_at", "it is before observed_at", "Correct either")
    return patient, Fact(
        code=plain["topic"],
        value=plain["value"],
        unit=plain["unit"],
        source=source,
        observed_at=begun,
        coded=plain["coded"],
        standing=_standing(plain["standing"]),
        ended_at=ended,
    )


def _text(name: str, value: str) -> str:
    text = value.strip()
    if not text.isprintable():
        raise _Wrong(name, "it has characters that cannot be printed", "Write it on one line, without them")
    if len(text) > _LONGEST.get(name, 64):
        raise _Wrong(name, f"it is longer than {_LONGEST.get(name, 64)} characters", "Shorten it")
    return text


def _birth_date(text: str) -> str:
    found = _BIRTH_DATE.fullmatch(text)
    if not text:
        return ""
    try:
        return date(*map(int, found.groups())).strftime("%Y%m%d") if found else _no_date("birth_date")
    except ValueError:
        return _no_date("birth_date")


def _no_date(column: str) -> str:
    raise _Wrong(column, "it is no date", "Write it as 2026-01-31" + (", 2026-01, or 2026" * (column != "birth_date")))


def _sex(text: str) -> str:
    if text.lower() not in _SEXES:
        raise _Wrong("sex", "it is none of M, F, O", "Leave it empty where it is not known")
    return _SEXES[text.lower()]


def _standing(text: str) -> Standing:
    if text.lower() not in ("", *Standing):
        raise _Wrong("standing", "it is neither yes nor no", "What is not known has no row: unknown is not no")
    return Standing(text.lower() or Standing.YES)


def _moment(column: str, text: str) -> str:
    if not text or _PART_OF_A_DATE.fullmatch(text):
        return text
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return _no_date(column)
    return text if text[4:5] == "-" else _no_date(column)
