"""A keeper that writes nothing: for tests of what stands before it."""

from __future__ import annotations

from typing import Any, cast

from node.domain.time import SystemClock
from node.receive.gathering import SCATTERED
from node.receive.keeper import Keeper, Origin
from node.store.database import Database


class StubIncoming:
    """Remembers its object; `failing` has what `write` or `keep` raises, once each."""

    def __init__(self, origin: Origin, named: dict[str, Any], failing: dict[str, Exception]) -> None:
        self.origin, self.named = origin, named
        self.content = b""
        self.became = "began"
        self.is_large = True
        self._failing = failing

    def write(self, piece: memoryview) -> None:
        if error := self._failing.pop("write", None):
            raise error
        self.content += bytes(piece)

    def window(self, wanted: int) -> memoryview:
        return memoryview(bytearray(min(wanted, 50_000)))

    def advance(self, window: memoryview) -> None:
        self.write(window)

    def keep(self) -> bool:
        if error := self._failing.pop("keep", None):
            raise error
        self.became = "kept"
        return True

    def discard(self) -> None:
        self.became = "discarded"


class StubKeeper:
    """What it was asked to keep."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.clock = SystemClock()
        self.arrived: list[StubIncoming] = []
        self.failing: dict[str, Exception] = {}
        self.gathering = SCATTERED

    def receive(self, origin: Origin, **named: Any) -> StubIncoming:
        if error := self.failing.pop("receive", None):
            raise error
        self.arrived.append(StubIncoming(origin, named, self.failing))
        return self.arrived[-1]

    def as_keeper(self) -> Keeper:
        return cast("Keeper", self)
