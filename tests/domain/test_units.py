"""Units of laboratory values: exact, or not at all."""

from __future__ import annotations

import pytest

from node.domain.units import converted


@pytest.mark.parametrize(
    ("number", "unit", "wanted", "expected"),
    [
        (0.5, "mg/L", "ng/mL", 500.0),
        (0.3, "mg/L{FEU}", "ng/mL", 300.0),
        (1.1, "ug/mL FEU", "ng/mL{FEU}", 1100.0),
        (400.0, "/uL", "10*9/L", 0.4),
        (4.2, "K/uL", "10^9/L", 4.2),
        (4.2, "10E9/L", "x10^9/L", 4.2),
        (22.0, "mL/min/1.73 m2", "mL/min/{1.73_m2}", 22.0),
        (22.0, "ml/min/1.73m²", "mL/min/{1.73_m2}", 22.0),
        (3.1, "", "{INR}", 3.1),
        (3.1, "INR", "1", 3.1),
        (38.5, "°C", "Cel", 38.5),
        (7.1, "g/dL", "g/L", 71.0),
        (90.0, "umol/L", "mmol/L", 0.09),
    ],
)
def test_powers_of_ten_and_other_spellings_are_the_same(number, unit, wanted, expected) -> None:
    assert converted(number, unit, wanted) == expected


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [
        ("mg/L{FEU}", "mg/L{DDU}"),
        ("ng/mL DDU", "ng/mL FEU"),
        ("mmol/L", "mg/dL"),
        ("", "mg/L"),
        ("mg/L", "1"),
        ("mL/min", "mL/min/{1.73_m2}"),
        ("[degF]", "Cel"),
        ("mg", "mg/L"),
        ("Mg/L", "mg/L"),
    ],
)
def test_what_would_have_to_be_guessed_is_not_compared(unit, wanted) -> None:
    assert converted(1.0, unit, wanted) is None
