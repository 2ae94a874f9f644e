"""Regular expressions of a site: refused where some texts would have them search for ever."""

from __future__ import annotations

import re
from collections.abc import Iterable
from re import _parser  # type: ignore[attr-defined]
from typing import Any, TypeAlias

_Items: TypeAlias = Iterable[tuple[Any, Any]]
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT")
_NOTHING = ("AT", "ASSERT", "ASSERT_NOT")


def fault_of_pattern(pattern: str) -> str:
    """Say what is wrong with a regular expression; empty where nothing is.

    A repetition of nothing but a repetition, as in `(a+)+`, can be had in a number of ways that doubles with each
    letter of a text that does not match in the end.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        return f"not a regular expression: {error}"
    if _runs_away(_parser.parse(pattern)):
        return "not a regular expression that ends soon: it repeats a repetition, as (a+)+ does"
    return ""


def _runs_away(items: _Items) -> bool:
    """Whether any part repeats, without bound, what is itself one unbounded repetition."""
    for kind, value in items:
        name = str(kind)
        if name in _REPEATS and value[1] is _parser.MAXREPEAT and _is_repetition(value[2]):
            return True
        if any(map(_runs_away, _parts(name, value))):
            return True
    return False


def _parts(name: str, value: Any) -> list[_Items]:
    """The expressions that stand within an item."""
    match name:
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return [value[2]]
        case "SUBPATTERN":
            return [value[3]]
        case "BRANCH":
            return list(value[1])
        case "ASSERT" | "ASSERT_NOT":
            return [value[1]]
        case "ATOMIC_GROUP":
            return [value]
        case "GROUPREF_EXISTS":
            return [each for each in value[1:] if each]
    return []


def _is_repetition(items: _Items) -> bool:
    """Whether the items can be one unbounded repetition, and nothing that has to stand beside it."""
    found = 0
    for kind, value in items:
        name = str(kind)
        if name in _REPEATS:
            found += value[1] is _parser.MAXREPEAT
            if found > 1 or (value[0] and value[1] is not _parser.MAXREPEAT):
                return False
        elif name in ("SUBPATTERN", "BRANCH") and any(map(_is_repetition, _parts(name, value))):
            found += 1
        elif name not in _NOTHING:
            return False
    return found == 1
