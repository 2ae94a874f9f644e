"""Who is meant: names, IDs, dates and UIDs of studies, and whether a text tells one of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from itertools import pairwise
from typing import TypeAlias

from pydicom._uid_dict import UID_dictionary

from node.domain.patient import is_nobody
from node.learn.deidentify.vocabulary import common_words

Words: TypeAlias = tuple[str, ...]

_WORD = re.compile(r"[^\W_]+")
#: Letters and digits apart, and words that begin with a capital inside of one.
_PART = re.compile(r"\d+|[^\W\d_]+")
_CAPITAL = re.compile(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])")
_UID = re.compile(r"(?<![\d.])\d+(?:\.\d+){3,63}(?![\d.]*\d)")
#: Between two parts of a date or of a number.
_BETWEEN = re.compile(r"[\s./\\,:;_^=|+-]{0,3}")
_TWO_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "ß": "ss"})
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
#: Shorter ones stand in any text by chance: they are looked for where an identifier is expected, and nowhere else.
_SHORTEST_NAME, _SHORTEST_WRITTEN_ID, _SHORTEST_NUMBER = 3, 4, 6
#: So many words may lie between a family name and a given name.
_NEAR = 1


class Kind(StrEnum):
    """What is told of a person or a study."""

    NAME = "patient name"
    PATIENT_ID = "Patient ID"
    BIRTH_DATE = "birth date"
    ACCESSION = "accession number"
    UID = "UID of a study, series or instance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What leads to one study; never printed."""

    names: frozenset[str] = field(default=frozenset(), repr=False)
    patient_ids: frozenset[str] = field(default=frozenset(), repr=False)
    #: YYYYMMDD.
    birth_dates: frozenset[str] = field(default=frozenset(), repr=False)
    accession_numbers: frozenset[str] = field(default=frozenset(), repr=False)
    uids: frozenset[str] = field(default=frozenset(), repr=False)


class Sought:
    """All that is looked for, in a form in which a text is looked through once."""

    def __init__(self, identities: Iterable[Identity], *, strict: bool = False) -> None:
        """Prepare. `strict`: also names that are common words, for a text of which it is known whose it is."""
        self._common: frozenset[str] = frozenset() if strict else common_words()
        self._uids: set[str] = set()
        #: First word → the words that follow, and what they are together.
        self._words: dict[str, set[tuple[Words, Kind]]] = {}
        #: Family name → given names, whether common words or not.
        self._pairs: dict[str, set[str]] = {}
        #: In scripts without spaces.
        self._unspaced: set[str] = set()
        #: Too short to be looked for in running text.
        self._short: dict[str, Kind] = {}
        for each in identities:
            self._add(each)
        self._first = self._words.keys() | self._pairs.keys()

    def in_text(self, text: str) -> frozenset[Kind]:
        """What a text tells."""
        found = {Kind.UID} if any(each.group() in self._uids for each in _UID.finditer(text)) else set()
        folded = _folded(text)
        for spaced in {folded, _folded(_CAPITAL.sub(" ", text))}:
            for pattern in (_WORD, _PART):
                # Nearly all texts have none of the first words: then their places do not matter.
                if not self._first.isdisjoint(pattern.findall(spaced)):
                    found |= self._in_words(spaced, list(pattern.finditer(spaced)))
        if any(each in folded for each in self._unspaced):
            found.add(Kind.NAME)
        return frozenset(found)

    def in_identifier(self, text: str) -> frozenset[Kind]:
        """What the whole value of an identifier tells: also one that is too short to be found in running text."""
        kind = self._short.get(_folded(text).strip())
        return self.in_text(text) | ({kind} if kind else frozenset())

    def _add(self, identity: Identity) -> None:
        self._uids |= {uid for uid in identity.uids if uid and uid not in UID_dictionary}
        for value, kind in (
            *((each, Kind.PATIENT_ID) for each in identity.patient_ids),
            *((each, Kind.ACCESSION) for each in identity.accession_numbers),
        ):
            words = tuple(_WORD.findall(_folded(value)))
            length = sum(map(len, words))
            if length >= (_SHORTEST_NUMBER if all(map(str.isdecimal, words)) else _SHORTEST_WRITTEN_ID):
                self._look_for(words, kind)
            elif words:
                self._short[_folded(value).strip()] = kind
        for birth_date in identity.birth_dates:
            for words in _written_dates(birth_date):
                self._look_for(words, Kind.BIRTH_DATE)
        for name in identity.names:
            self._add_name(name)

    def _add_name(self, name: str) -> None:
        if is_nobody(name):
            return
        for group in name.split("="):
            # Prefix and suffix are no names.
            parts = [_spellings(part) for part in group.split("^")[:3]]
            every = {word for spellings in parts for words in spellings for word in words}
            for word in every:
                if _is_unspaced(word):
                    self._unspaced |= {word} if len(word) > 1 else set()
                elif len(word) >= _SHORTEST_NAME and not word.isdecimal() and word not in self._common:
                    self._look_for((word,), Kind.NAME)
            for one, other in ((one, other) for one in every for other in every if one != other):
                if min(len(one), len(other)) > 1 and not (one.isdecimal() or other.isdecimal()):
                    self._pairs.setdefault(one, set()).add(other)

    def _look_for(self, words: Words, kind: Kind) -> None:
        if words:
            self._words.setdefault(words[0], set()).add((words[1:], kind))

    def _in_words(self, text: str, words: Sequence[re.Match[str]]) -> set[Kind]:
        found: set[Kind] = set()
        for place, first in enumerate(words):
            for rest, kind in self._words.get(first.group(), ()):
                if kind not in found and _follows(text, words, place, rest):
                    found.add(kind)
            partners = self._pairs.get(first.group())
            if partners and any(each.group() in partners for each in words[place + 1 : place + 2 + _NEAR]):
                found.add(Kind.NAME)
        return found


def _follows(text: str, words: Sequence[re.Match[str]], place: int, rest: Words) -> bool:
    """Whether these words follow at once, and numbers are no part of a longer one."""
    matched = words[place : place + 1 + len(rest)]
    if tuple(each.group() for each in matched[1:]) != rest:
        return False
    for one, other in pairwise(matched):
        if not _BETWEEN.fullmatch(text, one.end(), other.start()):
            return False
    first, last = matched[0], matched[-1]
    before, after = text[max(0, first.start() - 2) : first.start()], text[last.end() : last.end() + 2]
    goes_on = last.group()[-1].isdecimal() and len(after) == 2 and after[0] == "." and after[1].isdecimal()
    goes_before = first.group()[0].isdecimal() and len(before) == 2 and before[1] == "." and before[0].isdecimal()
    # "m1234" is another word than "1234": the parts of a word are looked at, too.
    is_inside = first.group()[0].isdecimal() and (before[-1:].isdecimal() or after[:1].isdecimal())
    return not (goes_on or goes_before or is_inside)


def _folded(text: str) -> str:
    """Small letters without accents."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", "".join(letter for letter in apart if not unicodedata.combining(letter)))


def _spellings(part: str) -> Iterator[Words]:
    """The words of a part of a name, as they may be spelled without accents."""
    yield tuple(_WORD.findall(_folded(part)))
    composed = unicodedata.normalize("NFC", part).casefold()
    if not part.isascii():
        yield tuple(_WORD.findall(_folded(composed.translate(_TWO_LETTERS))))


def _is_unspaced(word: str) -> bool:
    """Whether it is written in a script that puts no spaces between words: Chinese, Japanese, Korean."""
    return any("\u3040" <= letter <= "\u9fff" or "\uac00" <= letter <= "\ud7a3" for letter in word)


def _written_dates(birth_date: str) -> Iterator[Words]:
    """The ways in which a date may stand in a text, as words."""
    try:
        day = date.fromisoformat(birth_date.strip()[:8])
    except ValueError:
        return
    year, month, number = f"{day.year:04}", f"{day.month:02}", f"{day.day:02}"
    yield (year + month + number,)
    yield (number + month + year,)
    for m, d in {(month, number), (str(day.month), str(day.day))}:
        yield (year, m, d)
        yield (d, m, year)
        yield (m, d, year)
    for name in {_MONTHS[day.month - 1], _MONTHS[day.month - 1][:3]}:
        for d in {number, str(day.day)}:
            yield (d, name, year)
            yield (name, d, year)
