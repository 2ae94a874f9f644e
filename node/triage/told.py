"""What is told of a patient, as a rule looks at it: how old, whether it stands, under which code, in which unit."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from math import inf
from typing import Any, NamedTuple, TypeAlias

from node.domain.history import LISTED_TOPICS, Fact, Standing
from node.domain.rule import MENTION_OPERATORS, Comparison, Operator
from node.domain.units import converted
from node.triage.mention import Words, phrases_of

#: True, false, or unknown (Kleene's strong three-valued logic).
Truth: TypeAlias = bool | None

_PARTIAL = re.compile(r"(\d{4})(?:-?(\d{2}))?$")
#: A fact that denies its whole topic: "no known allergies", "none".
_NOTHING = re.compile(r"(?:no|none|nil)\b", re.IGNORECASE)
#: ICD-10 and its clinical modification (PS3.16 §8) agree on what rules ask for.
_SAME_SCHEME = {"I10C": "I10", "ICD10": "I10", "ICD-10": "I10"}


class Told(NamedTuple):
    """One fact, seen from the day on which a study arrived."""

    fact: Fact
    #: Scheme and value as they are compared; empty where it has no code.
    code: str
    number: float | None
    #: First and last day that it may be of; `None` where nothing says when it was.
    days: tuple[date, date] | None
    #: The day on which the study arrived.
    arrived: date
    #: Whether it had ended by then; `None` where that cannot be told.
    ended: bool | None

    @property
    def years(self) -> tuple[float, float]:
        """Years between the fact and the arrival, at least and at most."""
        if self.days is None:
            return -inf, inf
        return _years(self.days[1], self.arrived), _years(self.days[0], self.arrived)

    @property
    def denies_all(self) -> bool:
        """Whether it says that there is nothing of its topic at all."""
        return self.fact.standing is Standing.NO and _NOTHING.match(self.fact.value.strip()) is not None

    @property
    def stands(self) -> bool:
        """Whether it is so, and has not ended."""
        return self.fact.standing is Standing.YES and self.ended is not True

    @property
    def speaks(self) -> bool:
        """Whether it is so, and no entry of a list that need not be whole."""
        return self.fact.standing is Standing.YES and self.fact.code not in LISTED_TOPICS

    @property
    def shown(self) -> str:
        """What it is, with its date."""
        fact = self.fact
        dated = f" ({fact.observed_at[:10]})" if fact.observed_at else ""
        if self.number is not None:
            return f"{fact.value.strip()} {fact.unit}".rstrip() + dated
        return f"{fact.value.strip() or fact.coded}{dated}"


class Topic:
    """All facts of one topic, the newest first and undated ones last, in an order of their own."""

    __slots__ = ("_words", "codes", "tolds", "unmet")

    def __init__(self, tolds: Iterable[Told]) -> None:
        self.tolds = tuple(tolds)
        is_told = any(each.speaks or each.denies_all for each in self.tolds)
        #: What a comparison that no fact meets comes to: unknown where nothing, or only a list, is told.
        self.unmet: Truth = False if is_told else None
        self.codes = frozenset(each.code for each in self.tolds)
        self._words: Words | None = None

    @property
    def words(self) -> Words:
        """The words of all their texts."""
        if self._words is None:
            self._words = Words("\n".join(each.fact.value for each in self.tolds))
        return self._words

    def __iter__(self) -> Iterator[Told]:
        return iter(self.tolds)

    def __len__(self) -> int:
        return len(self.tolds)


def told_of(facts: Sequence[Fact], arrived: datetime) -> Topic:
    """Look at `facts` from the time of arrival."""
    day = arrived.date()
    looked = [_look(fact, day) for fact in facts if fact.value.strip() or fact.coded]
    if len(looked) > 1:
        looked.sort(key=_order)
        looked.sort(key=_age, reverse=True)
    return Topic(looked)


def asks(comparison: Comparison, test: Callable[[Any], bool], key: Hashable) -> Callable[[Mapping[Any, Any]], Truth]:
    """Return a comparison over the topic that a reading has under `key`; `test` is that of a text, code or number.

    A fact that stands and meets it makes it true. Else it is false where it has ended or is of another age or number,
    is denied by name, or a text speaks of something else; unknown where nothing, or a list without it, is told.
    """
    meets = _meets(comparison, test)
    is_numeric, of_code = comparison.is_numeric, code_test(comparison.codes) if comparison.codes else None

    def answer(topic: Topic) -> Truth:
        tolds: Sequence[Told] = topic.tolds
        if of_code is not None:
            tolds = [each for each in tolds if of_code(each.code)]
        if is_numeric:
            tolds = _newest(tolds)
        said: Truth = None
        in_doubt = False
        for each in tolds:
            met = meets(each)
            if each.fact.standing is Standing.NO:
                said = False if met or each.denies_all else said
                continue
            if met is False and not is_numeric and not each.speaks:
                continue
            said = False
            counts = None if met is False else _counts(each, comparison)
            if met and counts:
                return True
            in_doubt = in_doubt or (met is not False and counts is not False)
        return None if in_doubt else said

    return _sooner(comparison, answer, key)


def _sooner(
    comparison: Comparison, answer: Callable[[Topic], Truth], key: Hashable
) -> Callable[[Mapping[Any, Any]], Truth]:
    """Answer at once where no fact of the topic can meet a comparison, which is nearly always."""
    wanted = comparison.value if isinstance(comparison.value, tuple) else (str(comparison.value),)
    codes = comparison.codes or (wanted if comparison.operator is Operator.CODED else ())
    if codes:
        has_code, unless = code_test(codes), None if comparison.codes else False

        def by_code(reading: Mapping[Any, Any]) -> Truth:
            topic: Topic = reading[key]
            for code in topic.codes:
                if has_code(code):
                    return answer(topic)
            return unless if unless is None else topic.unmet

        return by_code
    if comparison.operator in MENTION_OPERATORS:
        phrases = phrases_of(wanted)

        def by_words(reading: Mapping[Any, Any]) -> Truth:
            topic: Topic = reading[key]
            return answer(topic) if phrases.can_be_in(topic.words) else topic.unmet

        return by_words
    return lambda reading: answer(reading[key])


def noticed(comparison: Comparison, test: Callable[[Any], bool], tolds: Iterable[Told]) -> list[Told]:
    """The facts that make a comparison true."""
    meets = _meets(comparison, test)
    of_code = code_test(comparison.codes)
    asked = [each for each in tolds if not comparison.codes or of_code(each.code)]
    asked = _newest(asked) if comparison.is_numeric else asked
    standing = (each for each in asked if each.fact.standing is Standing.YES)
    return [each for each in standing if meets(each) and _counts(each, comparison)]


def code_test(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return a test for codes as `Told.code` has them: whether one is, or begins like, one of `patterns`."""
    exact = frozenset(normal_code(each) for each in patterns if not each.endswith("*"))
    begins = tuple(normal_code(each[:-1]) for each in patterns if each.endswith("*"))
    if not begins:
        return exact.__contains__
    return lambda code: code in exact or code.startswith(begins)


@lru_cache(maxsize=16384)
def normal_code(coded: str) -> str:
    """A code as it is compared: capitals; of ICD-10 without the dot, which some write and some do not."""
    scheme, _, value = coded.strip().upper().partition(":")
    scheme = _SAME_SCHEME.get(scheme, scheme)
    return f"{scheme}:{value.replace('.', '') if scheme == 'I10' else value}" if value or scheme else ""


def doubts(comparison: Comparison, test: Callable[[Any], bool], tolds: Iterable[Told]) -> str:
    """Why a comparison stays unknown although something is told; empty where nothing is."""
    meets, of_code = _meets(comparison, test), code_test(comparison.codes)
    asked = [each for each in tolds if not comparison.codes or of_code(each.code)]
    if comparison.is_numeric and any(each.number is None for each in asked):
        return "not a number"
    if comparison.is_numeric and any(_in_unit(each, comparison.unit) is None for each in asked):
        return f"not in {comparison.unit}"
    if any(meets(each) is not False and _counts(each, comparison) is None for each in asked):
        return "without a date"
    return "not among those that are told" if any(each.fact.standing is Standing.YES for each in asked) else ""


def _meets(comparison: Comparison, test: Callable[[Any], bool]) -> Callable[[Told], Truth]:
    if comparison.is_numeric:
        unit = comparison.unit

        def compared(told: Told) -> Truth:
            number = _in_unit(told, unit)
            return None if number is None else test(number)

        return compared
    if comparison.operator is Operator.CODED:
        return lambda told: bool(told.code) and test(told.code)
    return lambda told: bool(told.fact.value.strip()) and test(told.fact.value)


def _in_unit(told: Told, unit: str) -> float | None:
    return None if told.number is None else converted(told.number, told.fact.unit, unit)


def _counts(told: Told, comparison: Comparison) -> Truth:
    """Whether a fact is of the age that is asked for, and has not ended."""
    truths: list[Truth] = []
    if not comparison.including_ended:
        truths.append(None if told.ended is None else not told.ended)
    within, beyond = comparison.within_years, comparison.older_than_years
    if within is not None or beyond is not None:
        least, most = told.years
        if within is not None:
            truths.append(True if most <= within else False if least > within else None)
        if beyond is not None:
            truths.append(True if least > beyond else False if most <= beyond else None)
    if False in truths:
        return False
    return None if None in truths else True


def _newest(tolds: Sequence[Told]) -> list[Told]:
    """Of dated ones those of the newest date, and all that have none: a value that was replaced counts no more."""
    newest = next((_age(each) for each in tolds if each.days is not None), None)
    return [each for each in tolds if each.days is None or _age(each) == newest]


def _look(fact: Fact, arrived: date) -> Told:
    ended: Truth = False
    if fact.ended_at:
        over = _days(fact.ended_at)
        ended = None if over is None else True if over[1] < arrived else False if over[0] >= arrived else None
    number = fact.number
    if number is not None and not abs(number) < inf:
        number = None
    return Told(fact, normal_code(fact.coded), number, _days(fact.observed_at), arrived, ended)


def _order(told: Told) -> tuple[str, ...]:
    fact = told.fact
    return (fact.value, fact.coded, fact.unit, fact.standing, fact.ended_at, fact.code, fact.source, fact.scheme)


def _age(told: Told) -> tuple[int, str]:
    """The later, the greater; nothing is less than what has no date."""
    return (0, "") if told.days is None else (told.days[1].toordinal(), told.fact.observed_at)


@lru_cache(maxsize=16384)
def _days(said: str) -> tuple[date, date] | None:
    """The first and the last day an ISO date or date-time can mean; a year or month alone means each of its days."""
    text = said.strip()
    try:
        partial = _PARTIAL.match(text)
        if partial:
            year, month = int(partial[1]), partial[2]
            first, last = (1, 12) if month is None else (int(month), int(month))
            after = date(year + last // 12, last % 12 + 1, 1) if year < date.max.year else date.max
            return date(year, first, 1), date.fromordinal(after.toordinal() - 1)
        day = datetime.fromisoformat(text).date()
    except ValueError:
        return None
    return day, day


def _years(day: date, arrived: date) -> float:
    """Years from `day` to `arrived`: whole ones on anniversaries; negative where it lies after."""
    if day > arrived:
        return -_years(arrived, day)
    full = arrived.year - day.year - ((arrived.month, arrived.day) < (day.month, day.day))
    try:
        anniversary = day.replace(year=day.year + full)
    except ValueError:
        anniversary = date(day.year + full, 3, 1)
    return full + max(0, (arrived - anniversary).days) / 366
