"""What a comparison is about beside its field: whose finding, which quantity, of what age, in which unit."""

from __future__ import annotations

import re
from collections.abc import Collection
from math import isfinite
from pathlib import Path
from typing import Any

from node.domain.measures import Quantity
from node.domain.rule import OBSERVATION, ORDER_OPERATORS, Field, Operator
from node.domain.units import is_unit
from node.errors import Misconfigured

_AGES = ("within_years", "older_than_years")
SUBJECT_KEYS = frozenset({"model", "code", "quantity", "unit", "including_ended", *_AGES})
_CODE = re.compile(r"[A-Za-z0-9_-]+:\S+")
#: Changes that are sizes, in the unit of their quantity.
_SIZES = frozenset({"change.before", "change.after"})


def is_code(text: str) -> bool:
    """Whether `text` is a scheme and a value, as "SCT:372571002"; a star at the end stands for any."""
    return _CODE.fullmatch(text) is not None and "*" not in text[:-1]


class SubjectReader:
    """Reads them from the tables of one file."""

    def __init__(self, file: Path | str, known: Collection[tuple[str, str]], later: Collection[str]) -> None:
        self._file = file
        self._known = known
        self._later = later

    def read(self, table: dict[str, Any], field: Field, operator: Operator, key: str) -> dict[str, Any]:
        """Return what a comparison has beside field, operator and value.

        Raises:
            Misconfigured: a key that does not go with the field, a model or code that is not known, a bad value.
        """
        if operator is Operator.KNOWN:
            allowed: set[str] = set()
        elif field.is_fact:
            allowed = {*_AGES, "including_ended"} | ({"code", "unit"} if field.name == OBSERVATION else set())
        elif field.is_change:
            allowed = {"model", "code"} | ({"quantity"} if field.name != "change.days" else set())
        else:
            allowed = {"model", "code"} if field.is_finding else set()
        for name in sorted(SUBJECT_KEYS & table.keys()):
            if name not in allowed:
                raise self._wrong(f"{key}.{name}", f"does not go with {field.name}", "Remove it")
        if field.is_fact:
            return self._fact(table, field, operator, key)
        found: dict[str, Any] = {}
        if field.is_finding:
            found["model"], found["code"] = self._who(table, key)
        if field.is_change:
            found["quantity"] = self._quantity(table, field, key)
        return found

    def _fact(self, table: dict[str, Any], field: Field, operator: Operator, key: str) -> dict[str, Any]:
        found: dict[str, Any] = {name: self._years(table[name], f"{key}.{name}") for name in _AGES if name in table}
        ended = table.get("including_ended", False)
        if not isinstance(ended, bool):
            raise self._wrong(f"{key}.including_ended", f"{ended!r} is not true or false", "Give true or false")
        found["including_ended"] = ended
        if field.name != OBSERVATION:
            return found
        codes, unit = table.get("code", []), table.get("unit", "")
        codes = [codes] if isinstance(codes, str) else codes
        if not isinstance(codes, list) or not all(isinstance(code, str) and is_code(code) for code in codes):
            raise self._wrong(f"{key}.code", f"{codes!r} is no code", 'Write "LN:48065-7", or a list of such')
        value = table.get("value")
        if operator in ORDER_OPERATORS or (operator is Operator.IS and not isinstance(value, str)):
            if not codes:
                raise self._wrong(f"{key}.code", "a number needs a code", 'Say of what, as "LN:48065-7"')
            if not isinstance(unit, str) or not is_unit(unit):
                remedy = 'Name it, as "ng/mL"; "1" for none. A value in a unit that cannot be converted is unknown'
                raise self._wrong(f"{key}.unit", "a number needs a unit", remedy)
        elif unit:
            raise self._wrong(f"{key}.unit", "a text has no unit", "Remove it, or compare a number")
        return {**found, "codes": tuple(codes), "unit": unit}

    def _years(self, value: Any, key: str) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not isfinite(value) or value < 0:
            raise self._wrong(key, f"{value!r} is no number of years", "Give years, as 5 or 0.25")
        return float(value)

    def _quantity(self, table: dict[str, Any], field: Field, key: str) -> str:
        quantity = table.get("quantity", "")
        if quantity not in set(Quantity) and (quantity or field.name in _SIZES):
            problem = f'there is no quantity "{quantity}"' if quantity else f"{field.name} needs a quantity"
            raise self._wrong(f"{key}.quantity", problem, f"Choose one of {', '.join(sorted(Quantity))}")
        return str(quantity)

    def _who(self, table: dict[str, Any], key: str) -> tuple[str, str]:
        """Return model and code of a comparison with a finding."""
        model, code = table.get("model", ""), table.get("code", "")
        for name, value in (("model", model), ("code", code)):
            if not isinstance(value, str):
                raise self._wrong(f"{key}.{name}", f"{value!r} is no text", "Put it in quotes")
        if code in self._later:
            return model, code
        findable = sorted({known_code for known_model, known_code in self._known if model in {"", known_model}})
        if not findable:
            problem = f'no model "{model}" finds anything' if model else "no model finds anything"
            raise self._wrong(f"{key}.model", problem, "Mend the model's card, or remove the rule")
        if code not in findable:
            problem = f'no model finds "{code}"' if code else "a finding needs a code"
            remedy = f'Choose one of {", ".join(findable)}; or write requires = ["{code or "SCT:…"}"] and wait for one'
            raise self._wrong(f"{key}.code", problem, remedy)
        return model, code

    def _wrong(self, key: str, problem: str, remedy: str) -> Misconfigured:
        return Misconfigured(self._file, key, problem, remedy)
