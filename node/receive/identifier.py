"""Identifiers of queries and retrievals (PS3.4 §C.2.2): their attributes, read within bounds, and what they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.datadict import keyword_for_tag

from node.domain.uid import is_usable_uid
from node.errors import Refused
from node.receive.header import encoding_of, text_of
from node.receive.nested import elements
from node.receive.status import IDENTIFIER_DOES_NOT_MATCH, UNABLE_TO_PROCESS

#: Attributes of one identifier, and characters of one value: a list of some hundred UIDs.
_MOST_ELEMENTS = 1000
_LONGEST_VALUE = 64 << 10
_DEEPEST = 8
_LEVELS = ("STUDY", "SERIES", "IMAGE")
#: Unique keys from the study down (PS3.4 §C.6.2.1).
UNIQUE_KEYS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
_WILDCARDS = "*?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """What a request asks for."""

    #: STUDY, SERIES or IMAGE.
    level: str
    #: Keyword → value, of every attribute that the dictionary knows; empty where it is to be returned alone.
    keys: Mapping[str, str]

    def uids(self, keyword: str) -> tuple[str, ...]:
        """The UIDs of a list, or none.

        Raises:
            Refused: 0xA900, one of them is none.
        """
        value = self.keys.get(keyword, "")
        found = tuple(value.split("\\")) if value else ()
        if not all(is_usable_uid(uid) for uid in found):
            raise Refused(IDENTIFIER_DOES_NOT_MATCH, f"{keyword} is no list of UIDs")
        return found

    def exact(self, keyword: str) -> str:
        """One value that is to be equal, or none.

        Raises:
            Refused: 0xC001, it has wildcards or several values.
        """
        value = self.keys.get(keyword, "").strip()
        if any(mark in value for mark in (*_WILDCARDS, "\\")):
            raise Refused(UNABLE_TO_PROCESS, f"{keyword} is only compared as a whole")
        return value


def read(content: bytes, transfer_syntax_uid: str) -> Identifier:
    """Read an identifier of the Study Root model; sequences in it are stepped over.

    Raises:
        Refused: 0xA900, no level of the model, or a key of the levels above is missing; 0x0110, 0x0213 as `elements`.
    """
    keys: dict[str, str] = {}
    encoding = encoding_of(transfer_syntax_uid)
    for path, element in elements(content, encoding, frozenset(), deepest=_DEEPEST, most=_MOST_ELEMENTS):
        keyword = keyword_for_tag(element.tag[0] << 16 | element.tag[1])
        if not path and keyword and element.length <= _LONGEST_VALUE:
            keys[keyword] = text_of(content, element).strip()
    level = keys.pop("QueryRetrieveLevel", "")
    if level not in _LEVELS:
        raise Refused(IDENTIFIER_DOES_NOT_MATCH, "the level is none of STUDY, SERIES, IMAGE")
    found = Identifier(level=level, keys=keys)
    for above in _LEVELS[: _LEVELS.index(level)]:
        if len(found.uids(UNIQUE_KEYS[above])) != 1:
            raise Refused(IDENTIFIER_DOES_NOT_MATCH, f"{UNIQUE_KEYS[above]} is needed at the level {level}")
    return found
