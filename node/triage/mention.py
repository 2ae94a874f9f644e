"""Does a text mention something, and not in order to deny it?"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

# After NegEx (Chapman et al., J Biomed Inform 2001;34:301-310), but narrower on purpose: a denial counts
# only where nothing but fillers stands between it and the phrase. A denial that is overlooked raises a
# study too high; a mention that is overlooked would leave an urgent one waiting.
_DENIAL = re.compile(
    r"\b(?:no|nil|without|denie[sd]|denying|negative for|free of|free from|absence of|never had)"
    r"(?:\s+(?:any|a|an|the|of|for|or|and|known|prior|previous|past|personal|family|clinical|new|acute|current|active"
    r"|recent|focal|history|hx|evidence|signs?|symptoms?|suspicion|suggestion|indication))*\s*$",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")
#: The first word of a phrase, and whether it may go on; a phrase that begins otherwise has none.
_FIRST = re.compile(r"(\w+)(\*?)")
#: A denial reaches no further back than this many characters.
_REACH = 120


class Words:
    """A text, or several, with what of it is looked at again and again: whether a phrase can be in it at all."""

    __slots__ = ("is_plain", "small", "words")

    def __init__(self, text: str) -> None:
        #: Beyond ASCII, small letters are not all that a regular expression takes for equal.
        self.is_plain = text.isascii()
        self.small = text.lower()
        self.words = frozenset(_WORD.findall(self.small))


class Phrases:
    """Phrases that are looked for: whole words, compared without case, their spaces any white space.

    A star at the end of a word lets the word go on: `metasta*`.
    """

    def __init__(self, phrases: tuple[str, ...]) -> None:
        self._search = re.compile("|".join(_pattern(phrase) for phrase in phrases), re.IGNORECASE).finditer
        self._whole, self._begun = set[str](), []
        for phrase in phrases:
            first = _FIRST.match(phrase.lower().lstrip())
            if first is None or first[2]:
                self._begun.append(first[1] if first is not None else "")
            else:
                self._whole.add(first[1])
        self._is_plain = all(phrase.isascii() for phrase in phrases)

    def can_be_in(self, words: Words) -> bool:
        """Whether a text may mention one of them; most do not, which is seen sooner without a regular expression."""
        if not (self._is_plain and words.is_plain) or not self._whole.isdisjoint(words.words):
            return True
        small = words.small
        return any(begun in small for begun in self._begun) if self._begun else False

    def where(self, text: str) -> int | None:
        """Where a text first mentions one of them without denying it."""
        starts = (found.start() for found in self._search(text))
        return next((at for at in starts if _DENIAL.search(text, max(0, at - _REACH), at) is None), None)


@lru_cache(maxsize=4096)
def phrases_of(phrases: tuple[str, ...]) -> Phrases:
    """Make phrases ready, once."""
    return Phrases(phrases)


def mention_of(phrases: tuple[str, ...]) -> Callable[[str], int | None]:
    """Return a function that says where a text first mentions one of `phrases` without denying it."""
    return phrases_of(phrases).where


def _pattern(phrase: str) -> str:
    words = (re.escape(word.rstrip("*")) + (r"\w*" if word.endswith("*") else "") for word in phrase.split())
    return r"(?<!\w)" + r"\s+".join(words) + r"(?!\w)"
