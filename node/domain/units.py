"""Units of laboratory values: which ones say the same, and exact conversions between them. Nothing is guessed."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache

# Powers of ten alone: mass to amount would need the substance, and what is no power of ten would have to be rounded.
_MASS = {"kg": 3, "g": 0, "mg": -3, "ug": -6, "ng": -9, "pg": -12}
_AMOUNT = {"mol": 0, "mmol": -3, "umol": -6, "nmol": -9, "pmol": -12}
_VOLUME = {"L": 0, "dL": -1, "mL": -3, "uL": -6, "nL": -9, "fL": -15}
_COUNT = {"10*12": 12, "10*9": 9, "10*6": 6, "10*3": 3, "1": 0}
_LENGTH = {"m": 0, "cm": -2, "mm": -3}
_TOPS = {"mass": _MASS, "amount": _AMOUNT, "count": _COUNT}
#: Other spellings, after white space is gone; UCUM (the left side's meaning) is told by case, so most keep theirs.
_SPELT = {
    "l": "L",
    "dl": "dL",
    "ml": "mL",
    "ul": "uL",
    "mcL": "uL",
    "mcg": "ug",
    "mcmol": "umol",
    "K": "10*3",
    "INR": "1",
    "": "1",
    "degC": "Cel",
    "°C": "Cel",
    "mmHg": "mm[Hg]",
    "1.73m²": "1.73m2",
}
_POWER = re.compile(r"^x?10(?:\^|\*\*|\*|E\+?|e\+?)0?(\d+)$")
#: What UCUM writes in braces explains a unit and does not change it; these two are other ways to count D-dimers.
_ANNOTATION = re.compile(r"\{([^{}]*)\}|\b(FEU|DDU)\b", re.IGNORECASE)


def converted(number: float, unit: str, wanted: str) -> float | None:
    """Return `number` of `unit` in `wanted`, exactly; `None` where the two cannot be compared."""
    step = _step(unit, wanted)
    if step is None:
        return None
    return number if step == 0 else float(Decimal(repr(number)).scaleb(step))


def is_unit(text: str) -> bool:
    """Whether `text` names a unit at all."""
    return bool(text.strip())


@lru_cache(maxsize=1024)
def _step(unit: str, wanted: str) -> int | None:
    """The power of ten from one unit to another."""
    (one, one_step), (other, other_step) = _read(unit), _read(wanted)
    return one_step - other_step if one == other and not _differ(unit, wanted) else None


def _differ(unit: str, wanted: str) -> bool:
    """Whether one counts fibrinogen equivalents and the other D-dimers."""
    return {_way(unit), _way(wanted)} == {"FEU", "DDU"}


def _way(unit: str) -> str:
    return next((way for way in ("FEU", "DDU") if way in unit.upper()), "")


def _read(unit: str) -> tuple[str, int]:
    """A unit as a dimension and a power of ten; one that is not known is a dimension of its own."""
    kept = _ANNOTATION.sub(lambda found: "1.73m2" if (found[1] or "").startswith("1.73") else "", unit)
    plain = "".join(kept.split()).replace("µ", "u").replace("μ", "u")
    parts = [_spelt(part) for part in plain.split("/")]
    if len(parts) == 2:
        for name, table in _TOPS.items():
            if parts[0] in table and parts[1] in _VOLUME:
                return f"{name} by volume", table[parts[0]] - _VOLUME[parts[1]]
    if len(parts) == 1:
        for name, table in ({**_TOPS, "length": _LENGTH, "volume": _VOLUME}).items():
            if parts[0] in table:
                return name, table[parts[0]]
    return "/".join(parts), 0


def _spelt(part: str) -> str:
    power = _POWER.match(part)
    return f"10*{power[1]}" if power else _SPELT.get(part, part)
