"""Why a rule fired, or could not be answered: its sentence, filled with what was found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isinf
from typing import Any

from node.domain.rule import FIELDS, MENTION, MENTION_OPERATORS, SENTENCE, Field, Kind, Rule
from node.triage.clauses import Key, Lookups, Part
from node.triage.compared import NotComparable
from node.triage.mention import mention_of
from node.triage.told import Told

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_SHOWN_CHARACTERS = 120
#: Sentences that one reason has at most.
_SENTENCES = 3
#: Values of one field that one reason has at most.
_VALUES = 4


def because(rule: Rule, parts: Sequence[Part], reading: Lookups) -> str:
    """The sentence of a rule that fired; what stands in the data is not filled again."""

    def filled(found: re.Match[str]) -> str:
        if found[1] == MENTION:
            return _mentioned(parts, reading)
        if found[1] == SENTENCE:
            return _said(parts, reading)
        return _field(FIELDS[found[1]], rule, parts, reading)

    return _PLACEHOLDER.sub(filled, rule.because)


def not_known(parts: Sequence[Part], reading: Lookups) -> str:
    """What leaves a rule undecided, with the reason where there is something to look at."""
    missing: dict[str, None] = {}
    for part in parts:
        if part.answer(reading) is None:
            meaning, doubt = FIELDS[part.comparison.field].meaning, part.doubt(reading)
            missing[f"{meaning} ({doubt})" if doubt else meaning] = None
    return ", ".join(missing)


def sentence_keys(parts: Sequence[Part]) -> list[Key]:
    """Where the sentences are on the findings that a rule asks for."""
    asked = (part.comparison for part in parts if FIELDS[part.comparison.field].is_finding)
    return list(dict.fromkeys((SENTENCE, comparison.model, comparison.code, "") for comparison in asked))


def _field(field: Field, rule: Rule, parts: Sequence[Part], reading: Lookups) -> str:
    asked = [part for part in parts if part.comparison.field == field.name]
    if not asked and rule.weight is not None:
        return _shown(field, reading[(field.name, rule.weight.model, rule.weight.code, "")])
    values = list(dict.fromkeys(value for part in asked for value in reading[part.key]))
    # Of several values those that the rule noticed, if it noticed them one by one.
    seen = {value for part in asked for value in part.noticed(reading)}
    plain = [value for value in values if not isinstance(value, NotComparable)]
    return _shown(field, [value for value in plain if value in seen] or plain)


def _shown(field: Field, values: Sequence[Any]) -> str:
    if not values:
        return "unknown"
    if isinstance(values[0], Told):
        return _quoted_facts(values)
    more = " …" if len(values) > _VALUES else ""
    if field.kind is Kind.NUMBER:
        return f"{', '.join(_digits(float(value)) for value in values[:_VALUES])}{more} {field.unit}".rstrip()
    if field.kind is Kind.BOOLEAN:
        return "yes" if values[0] else "no"
    if field.is_change:
        return ", ".join(str(value).lower() for value in values)
    return _quoted("; ".join(str(value) for value in values))


def _digits(number: float) -> str:
    if isinf(number):
        return "endless"
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _quoted_facts(values: Sequence[Told]) -> str:
    texts = dict.fromkeys(
        each.shown if each.number is not None and each.fact.unit else _quoted_fact(each) for each in values
    )
    shown = ", ".join(list(texts)[:_VALUES])
    return f"{shown} …" if len(texts) > _VALUES else shown


def _quoted_fact(told: Told, start: int = 0) -> str:
    dated = f" ({told.fact.observed_at[:10]})" if told.fact.observed_at else ""
    return _quoted(told.fact.value.strip() or told.fact.coded, start) + dated


def _said(parts: Sequence[Part], reading: Lookups) -> str:
    """What is said of the findings; the first few."""
    told = [str(text) for key in sentence_keys(parts) for text in reading[key]]
    more = f" (and {len(told) - _SENTENCES} more)" if len(told) > _SENTENCES else ""
    return " ".join(told[:_SENTENCES]) + more if told else "nothing is said of it"


def _mentioned(parts: Sequence[Part], reading: Lookups) -> str:
    """The texts in which a phrase was found, each cut to what stands around it."""
    texts: dict[str, str] = {}
    for part in parts:
        if part.comparison.operator not in MENTION_OPERATORS:
            continue
        wanted = part.comparison.value
        where = mention_of(wanted if isinstance(wanted, tuple) else (str(wanted),))
        for value in part.noticed(reading):
            text = value.fact.value if isinstance(value, Told) else str(value)
            start = where(text) or 0
            texts.setdefault(text, _quoted_fact(value, start) if isinstance(value, Told) else _quoted(text, start))
    return ", ".join(texts.values())


def _quoted(text: str, start: int = 0) -> str:
    """`text` in quotes; of a long one, what stands around `start`."""
    if len(text) > _SHOWN_CHARACTERS:
        first = max(0, min(start - _SHOWN_CHARACTERS // 3, len(text) - _SHOWN_CHARACTERS))
        last = first + _SHOWN_CHARACTERS
        text = ("…" if first else "") + text[first:last] + ("…" if last < len(text) else "")
    return f"“{' '.join(text.split())}”"
