"""TOML files as typed values: every mistake names the file, the key and the remedy."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError

from node.errors import Misconfigured

Value = TypeVar("Value")
#: Makes the error of one file from its key, the problem and the remedy.
Complaint = Callable[[str, str, str], Misconfigured]

_UNKNOWN_KEY = frozenset({"extra_forbidden", "unexpected_keyword_argument", "unexpected_positional_argument"})
_REMEDIES = {
    "missing": "Add it",
    "string_type": "Put the value in quotes",
    "float_type": "Give a plain number",
    "int_type": "Give a whole number",
    "bool_type": "Give true or false",
    "tuple_type": "Give a list, in square brackets",
    "literal_error": "Choose one of the values named",
    "enum": "Choose one of the values named",
}


def read_document(file: Path) -> dict[str, Any]:
    """Parse `file`.

    Raises:
        Misconfigured: it cannot be read, or is not TOML.
    """
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise Misconfigured(file, "", f"cannot be read: {error.strerror}", "Check the path and its rights") from None
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: bytes that are no text, numbers of thousands of digits, endless brackets.
        raise Misconfigured(file, "", f"not TOML: {error}", "Mend the line named") from None


def validate(adapter: TypeAdapter[Value], document: dict[str, Any], file: Path) -> Value:
    """Turn `document` into a value, with no conversion between kinds: "3" is no number and true is not 1.

    Raises:
        Misconfigured: an unknown, missing or mistyped key.
    """
    try:
        return adapter.validate_json(json.dumps(document, default=str), strict=True)
    except ValidationError as error:
        _refuse(error, file)


def _refuse(error: ValidationError, file: Path) -> NoReturn:
    """Turn pydantic's most telling complaint into ours."""
    # A misspelt key is also a missing one; the misspelling is what to mend.
    first = min(error.errors(include_url=False), key=lambda each: each["type"] not in _UNKNOWN_KEY)
    # Of a union only the key is telling; the parts in brackets or capitals name the alternatives tried.
    key = ""
    for part in first["loc"]:
        if isinstance(part, int):
            key += f"[{part}]"
        elif "[" not in part:
            key += f".{part}" if key else part
    unknown = first["type"] in _UNKNOWN_KEY
    problem = "unknown key" if unknown else first["msg"]
    more = error.error_count() - 1
    if more:
        problem += f" (and {more} more)"
    remedy = "Remove it, or correct its spelling" if unknown else _REMEDIES.get(first["type"], "Correct the value")
    raise Misconfigured(file, key, problem, remedy) from None
