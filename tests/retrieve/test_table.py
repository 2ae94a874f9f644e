from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from node.domain.history import Standing
from node.errors import Misconfigured
from node.retrieve import table
from node.retrieve.table import OPTIONAL, REQUIRED, Table, read_table

HEADER = ",".join((*REQUIRED, *OPTIONAL))
ROW = {
    "patient_id": "P1",
    "issuer": "A",
    "topic": "problem",
    "value": "Lung cancer",
    "birth_date": "1970-01-01",
    "sex": "F",
    "coded": "SCT:363358000",
    "observed_at": "2020-05",
}


def csv(folder: Path, *rows: dict[str, str], header: str = HEADER) -> Path:
    file = folder / "history.csv"
    lines = [",".join(f'"{row.get(name, "")}"' for name in header.split(",")) for row in rows]
    file.write_text("\n".join([header, *lines]) + "\n")
    return file


def sqlite(folder: Path, *tables: str) -> Path:
    file = folder / "history.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        for table in (name.replace('"', '""') for name in tables):
            connection.execute(f'CREATE TABLE "{table}" (patient_id, issuer, topic, value, coded)')
            connection.execute(f"INSERT INTO \"{table}\" VALUES (7, 'A', 'observation', 4.2, 'LN:48065-7')")
    return file


def columns(table: Table) -> list[tuple[int, str]]:
    return [(each.line, each.column) for each in table.mistakes]


def test_a_row_is_a_fact_of_a_patient(tmp_path: Path) -> None:
    found = read_table(csv(tmp_path, ROW, {**ROW, "value": "No asthma", "standing": "No", "coded": ""}))
    ((patient, facts),) = found.facts.values()
    assert (patient.patient_id, patient.issuer, patient.birth_date, patient.sex) == ("P1", "A", "19700101", "F")
    assert [(each.coded, each.standing, each.source) for each in facts] == [
        ("SCT:363358000", Standing.YES, "table history.csv"),
        ("", Standing.NO, "table history.csv"),
    ]
    assert (found.rows, found.mistakes) == (2, ())


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("patient_id", "", "nobody in particular"),
        ("patient_id", "UNKNOWN", "nobody in particular"),
        ("patient_id", "P*", "nobody in particular"),
        ("issuer", "", "empty"),
        ("topic", "problm", "none that is known"),
        ("sex", "female?", "none of M, F, O"),
        ("birth_date", "1970-02-30", "no date"),
        ("birth_date", "70", "no date"),
        ("coded", "C34.1", "no code with its system"),
        ("coded", "XYZ:1", "no code with its system"),
        ("standing", "unknown", "neither yes nor no"),
        ("observed_at", "last May", "no date"),
        ("observed_at", "20200501", "no date"),
        ("ended_at", "2019-12-31", "before observed_at"),
        ("value", "x" * 501, "longer than 500"),
        ("value", "a\x1b[31mb", "cannot be printed"),
        ("value", "two\nlines", "cannot be printed"),
    ],
)
def test_a_mistake_has_its_line_and_a_remedy(tmp_path: Path, column: str, value: str, words: str) -> None:
    found = read_table(csv(tmp_path, ROW, {**ROW, column: value}, {**ROW, "patient_id": "P2"}))
    (wrong,) = found.mistakes
    assert (wrong.line, wrong.column) == (4 if "\n" in value else 3, column)
    assert words in wrong.problem
    assert wrong.remedy
    assert len(found.facts) == 2


def test_one_number_is_one_patient_in_a_table(tmp_path: Path) -> None:
    rows = (ROW, {**ROW, "birth_date": ""}, {**ROW, "birth_date": "1971-01-01"}, {**ROW, "issuer": "B", "sex": "M"})
    found = read_table(csv(tmp_path, *rows))
    assert columns(found) == [(4, "patient_id")]
    assert "from line 2" in found.mistakes[0].problem
    assert [patient.issuer for patient, _ in found.facts.values()] == ["A", "B"]


def test_a_row_without_value_and_code_says_nothing(tmp_path: Path) -> None:
    assert columns(read_table(csv(tmp_path, {**ROW, "value": "", "coded": ""}))) == [(2, "value")]
    assert columns(read_table(csv(tmp_path, {**ROW, "value": ""}))) == []


def test_formulas_stay_texts(tmp_path: Path) -> None:
    found = read_table(csv(tmp_path, {**ROW, "value": "=cmd|' /C calc'!A0"}))
    ((_, (fact,)),) = found.facts.values()
    assert fact.value == "=cmd|' /C calc'!A0"


@pytest.mark.parametrize(
    ("content", "key", "words"),
    [
        (b"", "", "no rows"),
        (HEADER.encode(), "", "no rows"),
        (b"patient_id,issuer,topic\nP1,A,problem\n", "value", "no such column"),
        (f"{HEADER},color\n{'x,' * 11}red\n".encode(), "color", "unknown column"),
        (f"{HEADER}\nM\xfcller\n".encode("latin-1"), "", "UTF-8"),
        (f'{HEADER}\n"never closed\n'.encode(), "", "no sound CSV"),
        (f"{HEADER}\n{'x' * 200_000}\n".encode(), "", "no sound CSV"),
        (b"SQLite format 3\0 and then junk", "", "no sound SQLite file"),
    ],
)
def test_a_file_that_cannot_be_read_as_a_whole_is_refused(tmp_path: Path, content: bytes, key: str, words: str) -> None:
    file = tmp_path / "history.csv"
    file.write_bytes(content)
    with pytest.raises(Misconfigured) as caught:
        read_table(file)
    assert caught.value.key == key
    assert words in str(caught.value)


def test_more_values_than_columns_are_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    file.write_text("patient_id,issuer,topic,value\nP1,A,problem,cancer, of the lung\n")
    (wrong,) = read_table(file).mistakes
    assert "more values" in wrong.problem


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_and_a_byte_order_mark_are_understood(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / "history.csv"
    text = "Patient_ID,Issuer,Topic,Value\nP1,A,problem,asthma\n".replace(",", delimiter)
    file.write_text(text, encoding="utf-8-sig")
    assert list(read_table(file).facts) == [("A", "P1")]


def test_a_table_of_sqlite_is_read_and_never_written(tmp_path: Path) -> None:
    file = sqlite(tmp_path, "facts")
    before = file.read_bytes()
    found = read_table(file)
    ((patient, (fact,)),) = found.facts.values()
    assert (patient.patient_id, fact.value, fact.number, fact.source) == ("7", "4.2", 4.2, "table history.sqlite")
    assert file.read_bytes() == before


def test_of_several_tables_one_is_named(tmp_path: Path) -> None:
    file = sqlite(tmp_path, "facts", 'odd" name')
    with pytest.raises(Misconfigured, match="it has 2 tables"):
        read_table(file)
    with pytest.raises(Misconfigured, match="no table others"):
        read_table(file, table="others")
    assert read_table(file, table='odd" name').rows == 1
    with pytest.raises(Misconfigured, match="no SQLite file"):
        read_table(csv(tmp_path, ROW), table="facts")


def test_bytes_in_a_column_are_a_mistake(tmp_path: Path) -> None:
    file = sqlite(tmp_path, "facts")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE facts SET value = x'00ff'")
    assert columns(read_table(file)) == [(1, "value")]


def test_a_patient_of_too_many_rows_is_a_mistake_and_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MOST_FACTS", 2)
    found = read_table(
        csv(tmp_path, *[ROW | {"value": f"number {number}"} for number in range(3)], ROW | {"patient_id": "P2"})
    )
    assert columns(found) == [(4, "patient_id")]
    assert [len(facts) for _, facts in found.facts.values()] == [2, 1]
