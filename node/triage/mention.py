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
#: A denial reaches no further back than this many characters.
_REACH = 120


@lru_cache(maxsize=4096)
def mention_of(phrases: tuple[str, ...]) -> Callable[[str], int | None]:
    """Return a function that says where a text first mentions one of `phrases` without denying it.

    A phrase is whole words, compared without case, and its spaces stand for any white space; a star at
    the end of a word lets the word go on: `metasta*`.
    """
    search = re.compile("|".join(_pattern(phrase) for phrase in phrases), re.IGNORECASE).finditer
    # Most texts hold none of the phrases, which is seen sooner without a regular expression. Beyond ASCII, small
    # letters are not all that an expression takes for equal.
    firsts = tuple(dict.fromkeys(phrase.split()[0].rstrip("*").lower() for phrase in phrases))
    is_plain = all(first.isascii() and first for first in firsts)

    def where(text: str) -> int | None:
        if is_plain and text.isascii():
            small = text.lower()
            if not any(first in small for first in firsts):
                return None
        starts = (found.start() for found in search(text))
        return next((at for at in starts if _DENIAL.search(text, max(0, at - _REACH), at) is None), None)

    return where


def _pattern(phrase: str) -> str:
    words = (re.escape(word.rstrip("*")) + (r"\w*" if word.endswith("*") else "") for word in phrase.split())
    return r"(?<!\w)" + r"\s+".join(words) + r"(?!\w)"
