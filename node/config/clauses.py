"""The clauses of rules and settings: from TOML tables to values, checked against a vocabulary."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any

from node.config.patterns import fault_of_pattern
from node.config.subjects import SUBJECT_KEYS, SubjectReader, is_code
from node.domain.rule import (
    LIST_OPERATORS,
    OBSERVATION,
    ORDER_OPERATORS,
    AllOf,
    AnyOf,
    Clause,
    Comparison,
    Field,
    Kind,
    Not,
    Operator,
)
from node.errors import Misconfigured

_MAXIMUM_DEPTH = 8
_COMPARISON_KEYS = {"field", "op", "value", *SUBJECT_KEYS}
_FORM = "Write { field = …, op = …, value = … }, or all / any = [ … ], or not = { … }"


class ClauseReader:
    """Reads the clauses of one file over a vocabulary.

    `known`: the (model, code) that models of this node find; `later`: codes that a model may come to find.
    """

    def __init__(
        self,
        file: Path | str,
        fields: Mapping[str, Field],
        known: Collection[tuple[str, str]] = frozenset(),
        later: Collection[str] = frozenset(),
    ) -> None:
        self._file = file
        self._fields = fields
        self._subjects = SubjectReader(file, known, later)

    def read(self, table: Any, key: str = "when", depth: int = 0) -> Clause:
        """Turn a table into a clause.

        Raises:
            Misconfigured: an unknown key, field, operator, model or code, or a value of the wrong type.
        """
        if not isinstance(table, dict) or not table:
            raise self._wrong(key, "is not a clause", _FORM)
        if depth > _MAXIMUM_DEPTH:
            raise self._wrong(key, f"is nested more than {_MAXIMUM_DEPTH} deep", "Make two of it")
        if "field" in table:
            return self._comparison(table, key)
        if len(table) != 1 or not table.keys() <= {"all", "any", "not"}:
            raise self._wrong(key, f"unknown clause: {', '.join(sorted(table))}", _FORM)
        word, inner = next(iter(table.items()))
        if word == "not":
            return Not(self.read(inner, f"{key}.not", depth + 1))
        if not isinstance(inner, list) or not inner:
            raise self._wrong(f"{key}.{word}", "is not a list of clauses", _FORM)
        parts = tuple(self.read(part, f"{key}.{word}[{index}]", depth + 1) for index, part in enumerate(inner))
        return AllOf(parts) if word == "all" else AnyOf(parts)

    def _comparison(self, table: dict[str, Any], key: str) -> Comparison:
        unknown = sorted(table.keys() - _COMPARISON_KEYS)
        if unknown:
            raise self._wrong(f"{key}.{unknown[0]}", "unknown key", "Remove it, or correct its spelling")
        field = self._field(table["field"], key)
        operator = self._operator(table.get("op"), field, key)
        if "value" not in table:
            raise self._wrong(f"{key}.value", "is missing", "Add it")
        value = self._value(table["value"], field, operator, f"{key}.value")
        subject = self._subjects.read(table, field, operator, key)
        return Comparison(field=field.name, operator=operator, value=value, **subject)

    def _field(self, name: Any, key: str) -> Field:
        field = self._fields.get(name) if isinstance(name, str) else None
        if field is None:
            close = get_close_matches(str(name), self._fields, n=1)
            remedy = f"Did you mean {close[0]}?" if close else f"Choose one of {', '.join(sorted(self._fields))}"
            raise self._wrong(f"{key}.field", f'there is no field "{name}"', remedy)
        return field

    def _operator(self, word: Any, field: Field, key: str) -> Operator:
        fitting = field.operators
        found = next((operator for operator in fitting if operator.value == word), None)
        if found is None:
            problem = f'{field.name} is {field.kind}; "{word}" does not go with it'
            raise self._wrong(f"{key}.op", problem, f"Choose one of {' '.join(sorted(fitting))}")
        return found

    def _value(self, value: Any, field: Field, operator: Operator, key: str) -> str | float | bool | tuple[str, ...]:
        if operator is Operator.KNOWN or field.kind is Kind.BOOLEAN:
            if not isinstance(value, bool):
                raise self._wrong(key, f"{value!r} is not true or false", "Give true or false, without quotes")
            return value
        if field.kind is Kind.NUMBER or operator in ORDER_OPERATORS:
            return self._number(value, field, key)
        if field.name == OBSERVATION and operator is Operator.IS and not isinstance(value, str):
            return self._number(value, field, key)
        if operator in LIST_OPERATORS:
            if not isinstance(value, list) or not value:
                raise self._wrong(key, f"{operator} wants a list of texts", 'Write ["one", "another"]')
            return tuple(self._text(part, field, operator, f"{key}[{index}]") for index, part in enumerate(value))
        return self._text(value, field, operator, key)

    def _number(self, value: Any, field: Field, key: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            remedy = f"Give a number{f' of {field.unit}' if field.unit else ''}, without quotes"
            raise self._wrong(key, f"{field.name} is a number and {value!r} is none", remedy)
        if not field.low <= value <= field.high:
            problem = f"{field.name} can never be {value}"
            raise self._wrong(key, problem, f"Give a number from {field.low:g} to {field.high:g} {field.unit}".rstrip())
        return float(value)

    def _text(self, value: Any, field: Field, operator: Operator, key: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(key, f"{field.name} is text and {value!r} is none", "Give a text in quotes")
        if operator in {Operator.IS, Operator.ONE_OF} and field.choices and value.upper() not in field.choices:
            remedy = f"Choose one of {', '.join(sorted(field.choices))}"
            raise self._wrong(key, f'{field.name} can never be "{value}"', remedy)
        if operator is Operator.CODED and not is_code(value):
            remedy = 'Write scheme and value, as "I10:I26.9", or "I10:I26*" for all that begin so'
            raise self._wrong(key, f"{value!r} is no code", remedy)
        if operator is Operator.MATCHES and (fault := fault_of_pattern(value)):
            raise self._wrong(key, fault, "Mend it")
        return value

    def _wrong(self, key: str, problem: str, remedy: str) -> Misconfigured:
        return Misconfigured(self._file, key, problem, remedy)
