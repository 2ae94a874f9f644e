"""Clauses at work: compiled to closures that answer true, false or unknown."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeAlias

from node.domain.rule import AllOf, AnyOf, Clause, Comparison, Not, Operator, comparisons
from node.triage.compared import NotComparable
from node.triage.mention import mention_of
from node.triage.told import Topic, Truth, asks, code_test, doubts, noticed

#: What a comparison looks up: field, model, code, quantity.
Key: TypeAlias = tuple[str, str, str, str]
#: What is found there: the facts of a topic, or plain values.
Values: TypeAlias = Topic | tuple[Any, ...]


class Lookups(dict[Any, Any]):
    """What is looked up and what comparisons say of it: each once a study, and only when a rule asks for it.

    Holds values by key, and answers by `Part`.
    """

    __slots__ = ()

    def __missing__(self, key: Key | Part) -> Any:
        found = self[key] = self.look_up(key) if isinstance(key, tuple) else key.ask(self)
        return found

    def look_up(self, key: Key) -> Values:
        """Every value of what a comparison looks up; none where it is not known."""
        raise KeyError(key)


Answer: TypeAlias = Callable[[Lookups], Truth]

_NUMBER_TESTS: dict[Operator, Callable[[float, float], bool]] = {
    Operator.BELOW: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.ABOVE: operator.gt,
    Operator.AT_LEAST: operator.ge,
}
#: Characters of a text that a regular expression is looked for in.
LONGEST_SEARCHED = 4096
#: What is slow to look at is asked last: a text for phrases, a history that has to be looked through first.
_COST = {Operator.HAS: 20, Operator.HAS_ANY: 20, Operator.MATCHES: 30, Operator.CODED: 10}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One comparison of a clause, made ready."""

    comparison: Comparison
    key: Key
    #: The test of one value.
    test: Callable[[Any], bool]
    ask: Answer

    def answer(self, reading: Lookups) -> Truth:
        """True, false or unknown."""
        said: Truth = reading[self]
        return said

    def noticed(self, reading: Lookups) -> list[Any]:
        """The values that make it true, or all where it is not about one by one."""
        found = reading[self.key]
        if _is_fact(self.comparison):
            return list(noticed(self.comparison, self.test, found))
        return [value for value in found if not isinstance(value, NotComparable) and self.test(value)]

    def doubt(self, reading: Lookups) -> str:
        """Why it stays unknown although there is something to look at; empty where there is nothing."""
        found = reading[self.key]
        if _is_fact(self.comparison):
            return doubts(self.comparison, self.test, found)
        return next((f"not comparable: {each.reason}" for each in found if isinstance(each, NotComparable)), "")


def answer_of(clause: Clause, shared: Collection[Comparison] = frozenset()) -> Answer:
    """Make one clause ready; it is asked with a reading of every key of `keys_of`.

    `shared`: comparisons whose answers are kept in the reading, for others ask the same.
    """
    match clause:
        case Comparison():
            part = part_of(clause)
            return itemgetter(part) if clause in shared else part.ask
        case Not():
            return _answer_not(answer_of(clause.clause, shared))
        case AllOf():
            return _answer_parts(clause.clauses, shared, decided_by=False)
        case AnyOf():
            return _answer_parts(clause.clauses, shared, decided_by=True)


def keys_of(clause: Clause) -> tuple[Key, ...]:
    """What a clause looks up."""
    return tuple(dict.fromkeys(key_of(comparison) for comparison in comparisons(clause)))


def key_of(comparison: Comparison) -> Key:
    """What a comparison looks up."""
    return (comparison.field, comparison.model, comparison.code, comparison.quantity)


@lru_cache(maxsize=8192)
def part_of(comparison: Comparison) -> Part:
    """Make one comparison ready; rules that compare the same share it, and so its answer."""
    key, test = key_of(comparison), _test(comparison)
    return Part(comparison=comparison, key=key, test=test, ask=_answer_comparison(comparison, key, test))


def _is_fact(comparison: Comparison) -> bool:
    return comparison.field.startswith("history.")


def _answer_comparison(comparison: Comparison, key: Key, test: Callable[[Any], bool]) -> Answer:
    if comparison.operator is Operator.KNOWN:
        wanted = comparison.value
        return lambda reading: bool(reading[key]) is wanted
    if _is_fact(comparison):
        return asks(comparison, test, key)
    if comparison.field.startswith("change."):
        return _answer_change(key, test)

    def answer(reading: Lookups) -> Truth:
        values = reading[key]
        if not values:
            return None
        return any(map(test, values)) if len(values) > 1 else test(values[0])

    return answer


def _answer_change(key: Key, test: Callable[[Any], bool]) -> Answer:
    def answer(reading: Lookups) -> Truth:
        said: Truth = None
        in_doubt = False
        for value in reading[key]:
            if isinstance(value, NotComparable):
                in_doubt = True
            elif test(value):
                return True
            else:
                said = False
        return None if in_doubt else said

    return answer


def _answer_not(inner: Answer) -> Answer:
    def answer(reading: Lookups) -> Truth:
        truth = inner(reading)
        return None if truth is None else not truth

    return answer


def _answer_parts(clauses: tuple[Clause, ...], shared: Collection[Comparison], *, decided_by: bool) -> Answer:
    """One part that is `decided_by` decides (false for all, true for any); else one unknown part leaves it open."""
    parts = tuple(answer_of(clause, shared) for clause in sorted(clauses, key=_cost))

    def answer(reading: Lookups) -> Truth:
        truth: Truth = not decided_by
        for part in parts:
            said = part(reading)
            if said is decided_by:
                return decided_by
            if said is None:
                truth = None
        return truth

    return answer


def _cost(clause: Clause) -> int:
    return sum(_COST.get(each.operator, 1) + (5 if _is_fact(each) else 0) for each in comparisons(clause))


def _test(comparison: Comparison) -> Callable[[Any], bool]:
    """The comparison as a test of one present value; types were checked when the rule was loaded."""
    wanted = comparison.value
    if isinstance(wanted, tuple):
        if comparison.operator is Operator.CODED:
            return code_test(wanted)
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
                # Whoever sends a text of a megabyte holds up nobody's rank.
                return lambda value: search(str(value)[:LONGEST_SEARCHED]) is not None
            case _:
                word = wanted.strip().casefold()
                return lambda value: str(value).strip().casefold() == word
    if comparison.operator in _NUMBER_TESTS:
        compare, limit = _NUMBER_TESTS[comparison.operator], float(wanted)
        return lambda value: compare(value, limit)
    return lambda value: bool(value == wanted)


def _mentions(phrases: tuple[str, ...]) -> Callable[[Any], bool]:
    where = mention_of(phrases)
    return lambda value: where(str(value)) is not None
