from __future__ import annotations

import pytest

from node.config.patterns import fault_of_pattern


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a*)*b", r"(\w+\s?)*x", r"((\d+))+z", "(a+|b)+c", "(?:x(y+)*)", r"(?=(a+)+b)", "(.*?)+q"]
)
def test_a_repetition_of_a_repetition_is_refused(pattern: str) -> None:
    assert "ends soon" in fault_of_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"\b(head|brain|crani\w*)\b",
        r"(\s+\w+)*$",
        r"(?<!non-)contrast[- ]enhanced",
        r"(ab+c)+",
        r"(\d{1,3},)*\d+",
        "a+b+",
    ],
)
def test_what_ends_soon_is_taken(pattern: str) -> None:
    assert fault_of_pattern(pattern) == ""


def test_what_is_no_expression_is_named() -> None:
    assert fault_of_pattern("(MR").startswith("not a regular expression: ")
