"""C-FIND of Unified Procedure Steps (PS3.4 §CC.2.8): the worklist, most urgent first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

from node.config import Peer, Settings
from node.domain import matching
from node.domain.dicom_json import Attributes, element, texts
from node.domain.ups import KNOWING, PUSH, WATCH, WORKING
from node.domain.ups_attributes import SOP_CLASS_UID, SOP_INSTANCE_UID, STATE, TIMEZONE_OFFSET, TRANSACTION_UID
from node.errors import Refused
from node.receive import status
from node.receive.intakes import Part, Request
from node.receive.keeper import Keeper
from node.receive.ups import encoding
from node.receive.ups.service import demand
from node.store import ups
from node.store.database import open_database
from node.workflow.steps_seen import as_seen

#: Longer ones would let matching take for ever.
_LONGEST_KEY = 4096
_NO_KEYS = (TIMEZONE_OFFSET, TRANSACTION_UID)
_WILDCARDS = "*?"


def parts(settings: Settings, keeper: Keeper, request: Request) -> Iterator[Part]:
    """Answer one query, step by step.

    Raises:
        Refused: 0x0124 the peer is no performer or reader, on UPS Watch no requester either; 0xA700 more match than are
            told at once; 0xA900 a key is too long; as `encoding.read`.
        Transient: the database stayed busy.
    """
    demand(request.peer, KNOWING if request.abstract_syntax == WATCH else WORKING)
    asked = encoding.read(request.content, request.transfer_syntax_uid)
    keys = {tag: key for tag, key in asked.items() if tag not in _NO_KEYS}

    def told_of(held: Attributes) -> Attributes:
        named = {SOP_CLASS_UID: element("UI", PUSH), SOP_INSTANCE_UID: held[SOP_INSTANCE_UID]}
        return matching.told(keys, held) | named

    for told in found(settings, keeper, request.peer, keys, told_of):
        yield Part(status=status.PENDING, identifier=encoding.written(told, request.transfer_syntax_uid))
    yield Part(status=status.SUCCESS)


def found(
    settings: Settings, keeper: Keeper, peer: Peer, keys: Attributes, told_of: Callable[[Attributes], Attributes]
) -> list[Attributes]:
    """What is told of the steps that match and that a peer may know of, most urgent first.

    Raises:
        Refused: 0xA700 more match than are told at once; 0xA900 a key is too long.
        Transient: the database stayed busy.
    """
    if len(str(keys)) > _LONGEST_KEY * 4 or any(
        len(value) > _LONGEST_KEY for tag in keys for value in texts(keys, tag)
    ):
        raise Refused(status.IDENTIFIER_DOES_NOT_MATCH, "the keys are longer than any that are compared")
    most = settings.ups.maximum_matches
    with closing(open_database(keeper.db.folder, keeper.db.room)) as db:
        matched: list[Attributes] = []
        for row in ups.shown(db, uids=_plain(keys, SOP_INSTANCE_UID), states=_plain(keys, STATE)):
            seen = as_seen(db, settings, peer, row) if matching.matches(keys, row.attributes) else None
            # What it does not show is not found by either.
            if seen is not None and (seen is row or matching.matches(keys, seen.attributes)):
                matched.append(told_of(seen.attributes))
            if len(matched) > most:
                raise Refused(status.TOO_MANY_MATCHES, f"more than {most} steps match")
    return matched


def _plain(keys: Attributes, tag: str) -> list[str]:
    """The values of a key that the store may look for by itself; none where it has wildcards."""
    values = texts(keys, tag)
    return [] if any(mark in value for value in values for mark in _WILDCARDS) else values
