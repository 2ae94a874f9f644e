"""Rules at work: compiled to closures, answered with true, false or unknown, each answer with its sentence."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from node.domain.priority import Lane
from node.domain.rule import (
    FIELDS,
    MENTION,
    MENTION_OPERATORS,
    SENTENCE,
    AllOf,
    AnyOf,
    Clause,
    Comparison,
    Field,
    Kind,
    Missing,
    Not,
    Operator,
    Rule,
    comparisons,
    reads_findings,
)
from node.triage.facts import Key, RankFacts, Value, values
from node.triage.mention import mention_of

#: True, false, or unknown (Kleene's strong three-valued logic).
Truth: TypeAlias = bool | None
Reading: TypeAlias = Mapping[Key, tuple[Value, ...]]
Answer: TypeAlias = Callable[[Reading], Truth]

_NUMBER_TESTS: dict[Operator, Callable[[float, float], bool]] = {
    Operator.BELOW: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.ABOVE: operator.gt,
    Operator.AT_LEAST: operator.ge,
}
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_SHOWN_CHARACTERS = 120
#: Sentences that one reason has at most.
_SENTENCES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """One reason for the place of a study."""

    rule: str
    points: float
    because: str
    #: The lane it asks for, if any.
    lane: Lane | None = None
    #: Whether a model has a say in it: then it raises one lane at most, never above a person's STAT.
    by_model: bool = False
    #: Whether it puts the study at the end of the routine lane.
    veto: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    """A rule ready to be asked."""

    rule: Rule
    answer: Answer
    #: What it compares, in the order written, and the test of one value.
    tests: tuple[tuple[Comparison, Callable[[Value], bool]], ...]
    #: Whether it asks models.
    by_model: bool = False


def compile_rules(rules: Sequence[Rule]) -> tuple[CompiledRule, ...]:
    """Make rules ready, in the order of their names."""
    return tuple(_compile_rule(rule) for rule in sorted(rules, key=lambda rule: rule.id))


def contributions(rules: Sequence[CompiledRule], facts: RankFacts) -> tuple[Contribution, ...]:
    """Ask every rule; what fires or has to be flagged comes back, most points first, then by name.

    The order of the facts is no matter.
    """
    reading = _read(rules, facts)
    made = [_contribution(each, each.answer(reading), reading) for each in rules]
    return tuple(sorted(filter(None, made), key=lambda each: (-each.points, each.rule)))


def answer_of(clause: Clause) -> Answer:
    """Make one clause ready; it is asked with a reading of every key of `keys_of`."""
    return _answer(clause)


def keys_of(clause: Clause) -> tuple[Key, ...]:
    """What a clause looks up."""
    return tuple(dict.fromkeys(_key(comparison) for comparison in comparisons(clause)))


def unanswered(rules: Sequence[CompiledRule], facts: RankFacts) -> dict[str, str]:
    """Return rule → what is not known, for every rule that what is missing leaves undecided."""
    reading = _read(rules, facts)
    return {each.rule.id: _not_known(each, reading) for each in rules if each.answer(reading) is None}


def _contribution(compiled: CompiledRule, truth: Truth, reading: Reading) -> Contribution | None:
    rule = compiled.rule
    if truth:
        because = _because(compiled, reading)
        return Contribution(
            rule=rule.id, points=rule.points, because=because, lane=rule.lane, by_model=compiled.by_model
        )
    if truth is None and rule.when_missing is not Missing.SKIP:
        because = f"{rule.title}: cannot be answered, {_not_known(compiled, reading)} not known"
        return Contribution(rule=rule.id, points=rule.points_when_missing, because=because, by_model=compiled.by_model)
    return None


def _compile_rule(rule: Rule) -> CompiledRule:
    tests = tuple((comparison, _test(comparison)) for comparison in comparisons(rule.when))
    return CompiledRule(rule=rule, answer=_answer(rule.when), tests=tests, by_model=reads_findings(rule))


def _answer(clause: Clause) -> Answer:
    match clause:
        case Comparison():
            return _answer_comparison(clause)
        case Not():
            return _answer_not(_answer(clause.clause))
        case AllOf():
            return _answer_parts(clause.clauses, decided_by=False)
        case AnyOf():
            return _answer_parts(clause.clauses, decided_by=True)


def _answer_comparison(comparison: Comparison) -> Answer:
    key, test = _key(comparison), _test(comparison)
    if comparison.operator is Operator.KNOWN:
        wanted = comparison.value
        return lambda reading: bool(reading[key]) is wanted

    def answer(reading: Reading) -> Truth:
        values = reading[key]
        return any(map(test, values)) if values else None

    return answer


def _answer_not(inner: Answer) -> Answer:
    def answer(reading: Reading) -> Truth:
        truth = inner(reading)
        return None if truth is None else not truth

    return answer


def _answer_parts(clauses: tuple[Clause, ...], *, decided_by: bool) -> Answer:
    """One part that is `decided_by` decides (false for all, true for any); else one unknown part leaves it open."""
    parts = tuple(_answer(clause) for clause in clauses)

    def answer(reading: Reading) -> Truth:
        truth: Truth = not decided_by
        for part in parts:
            said = part(reading)
            if said is decided_by:
                return decided_by
            if said is None:
                truth = None
        return truth

    return answer


def _test(comparison: Comparison) -> Callable[[Value], bool]:
    """The comparison as a test of one present value; types were checked when the rule was loaded."""
    wanted = comparison.value
    if isinstance(wanted, tuple):
        if comparison.operator is Operator.ONE_OF:
            words = frozenset(word.strip().casefold() for word in wanted)
            return lambda value: str(value).strip().casefold() in words
        return _mentions(wanted)
    if isinstance(wanted, str):
        match comparison.operator:
            case Operator.HAS:
                return _mentions((wanted,))
            case Operator.MATCHES:
                search = re.compile(wanted, re.IGNORECASE).search
                return lambda value: search(str(value)) is not None
            case _:
                word = wanted.strip().casefold()
                return lambda value: str(value).strip().casefold() == word
    if comparison.operator in _NUMBER_TESTS:
        compare, limit = _NUMBER_TESTS[comparison.operator], float(wanted)
        return lambda value: compare(float(value), limit)
    return lambda value: value == wanted


def _mentions(phrases: tuple[str, ...]) -> Callable[[Value], bool]:
    where = mention_of(phrases)
    return lambda value: where(str(value)) is not None


def _key(comparison: Comparison) -> Key:
    return (comparison.field, comparison.model, comparison.code)


def _read(rules: Sequence[CompiledRule], facts: RankFacts) -> dict[Key, tuple[Value, ...]]:
    """Look up, once a study, everything that the rules compare."""
    keys = {_key(comparison) for each in rules for comparison, _ in each.tests}
    keys |= {key for each in rules if f"{{{SENTENCE}}}" in each.rule.because for key in _sentence_keys(each)}
    return {key: tuple(values(key, facts)) for key in keys}


def _because(compiled: CompiledRule, reading: Reading) -> str:
    def filled(found: re.Match[str]) -> str:
        if found[1] == MENTION:
            return _mentioned(compiled, reading)
        if found[1] == SENTENCE:
            return _said(compiled, reading)
        tests = [(comparison, test) for comparison, test in compiled.tests if comparison.field == found[1]]
        values = dict.fromkeys(value for comparison, _ in tests for value in reading[_key(comparison)])
        # Of several values those that the rule noticed, if it noticed them one by one.
        noticed = [
            value for value in values if any(test(value) for each, test in tests if value in reading[_key(each)])
        ]
        return _shown(FIELDS[found[1]], noticed or list(values))

    return _PLACEHOLDER.sub(filled, compiled.rule.because)


def _shown(field: Field, values: Sequence[Value]) -> str:
    if not values:
        return "unknown"
    if field.kind is Kind.NUMBER:
        numbers = (float(value) for value in values)
        texts = [f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}" for number in numbers]
        return f"{', '.join(texts)} {field.unit}".rstrip()
    if field.kind is Kind.BOOLEAN:
        return "yes" if values[0] else "no"
    return _quoted("; ".join(str(value) for value in values))


def _sentence_keys(compiled: CompiledRule) -> list[Key]:
    """Where the sentences are on the findings that a rule asks for."""
    asked = (comparison for comparison, _ in compiled.tests if FIELDS[comparison.field].is_finding)
    return list(dict.fromkeys((SENTENCE, comparison.model, comparison.code) for comparison in asked))


def _said(compiled: CompiledRule, reading: Reading) -> str:
    """What is said of the findings; the first few."""
    told = [str(text) for key in _sentence_keys(compiled) for text in reading[key]]
    more = f" (and {len(told) - _SENTENCES} more)" if len(told) > _SENTENCES else ""
    return " ".join(told[:_SENTENCES]) + more if told else "nothing is said of it"


def _mentioned(compiled: CompiledRule, reading: Reading) -> str:
    """The texts in which a phrase was found, each cut to what stands around it."""
    texts: dict[str, int] = {}
    for comparison, _ in compiled.tests:
        if comparison.operator in MENTION_OPERATORS:
            phrases = comparison.value if isinstance(comparison.value, tuple) else (str(comparison.value),)
            for value in reading[_key(comparison)]:
                start = mention_of(phrases)(str(value))
                if start is not None:
                    texts.setdefault(str(value), start)
    return ", ".join(_quoted(text, start) for text, start in texts.items())


def _quoted(text: str, start: int = 0) -> str:
    """`text` in quotes; of a long one, what stands around `start`."""
    if len(text) > _SHOWN_CHARACTERS:
        first = max(0, min(start - _SHOWN_CHARACTERS // 3, len(text) - _SHOWN_CHARACTERS))
        last = first + _SHOWN_CHARACTERS
        text = ("…" if first else "") + text[first:last] + ("…" if last < len(text) else "")
    return f"“{' '.join(text.split())}”"


def _not_known(compiled: CompiledRule, reading: Reading) -> str:
    missing = dict.fromkeys(
        FIELDS[comparison.field].meaning for comparison, _ in compiled.tests if not reading[_key(comparison)]
    )
    return ", ".join(missing)
