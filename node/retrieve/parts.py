"""The parts of a multipart answer, each written to a file of its own while it comes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

from node.retrieve.hand_over import HandOver
from node.store.inbox import new_part


class Parts:
    """Takes what a multipart parser finds; each whole part is handed over, half a part is removed."""

    def __init__(self, given: HandOver, maximum_bytes: int) -> None:
        self._given = given
        self._maximum_bytes = maximum_bytes
        self._path: Path | None = None
        self._stream: IO[bytes] | None = None
        #: Whether the closing boundary has come.
        self.is_whole = False

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._take,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def close(self) -> None:
        """Remove what is only half here."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None

    def _begin(self) -> None:
        self.close()
        self._path = new_part(self._given.folder)
        self._stream = self._path.open("wb")

    def _take(self, content: bytes, start: int, end: int) -> None:
        # One byte above the limit is kept: it tells that there was more.
        if self._stream is not None and self._stream.tell() <= self._maximum_bytes:
            self._stream.write(content[start : min(end, start + self._maximum_bytes + 1 - self._stream.tell())])

    def _end(self) -> None:
        if self._stream is None or self._path is None:
            return
        self._stream.close()
        path, self._stream, self._path = self._path, None, None
        self._given.give(path)

    def _finish(self) -> None:
        self.is_whole = True
