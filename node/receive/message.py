"""DIMSE messages out of P-DATA-TF PDUs, and into them (PS3.8 §9.3.5, Annex E); fragments are handed on uncopied."""

from __future__ import annotations

import struct
from collections.abc import Callable, Container
from typing import Protocol

from node.receive.command_set import LONGEST_COMMAND_SET
from node.receive.upper_layer import AbortReason, InvalidPdu, PduType

#: Item length, Presentation Context ID and Message Control Header of a presentation data value (PDV).
_PDV = struct.Struct(">IBB")
_P_DATA_TF = struct.Struct(">BxIIBB")
#: The length of a PDV counts its context and control header.
_OVERHEAD = 2
#: Message Control Header: bit 0 command, bit 1 last fragment; the others are never checked (PS3.8 §E.2).
_COMMAND, _LAST = 0x01, 0x02
#: Shorter PDUs are many: they are read several at once.
_LEAST_POURED = 32 << 10
#: Taken at once of what is only to be thrown away.
_WASTE_BYTES = 64 << 10
#: No room: the bytes are to be written.
NOWHERE = memoryview(b"")
#: Between messages; no context has this ID.
_NONE = -1


class Operation(Protocol):
    """What a request's data set goes to."""

    def write(self, piece: memoryview) -> None:
        """Take the next bytes of the data set; the caller reuses the memory afterwards."""
        ...

    def window(self, wanted: int, /) -> memoryview:
        """Where the next bytes of the data set may be put: `wanted` or fewer, none where they are to be written."""
        ...

    def advance(self, window: memoryview, /) -> None:
        """The window, or so much of it, was filled."""
        ...

    def finish(self) -> None:
        """The data set is whole: answer."""
        ...

    def discard(self) -> None:
        """The association ends before the data set does."""
        ...


class Written:
    """What the operations share of which no data set is put into place."""

    def window(self, _wanted: int, /) -> memoryview:
        """Nowhere."""
        return NOWHERE

    def advance(self, _window: memoryview, /) -> None:
        """Never asked for."""
        raise NotImplementedError


class Source(Protocol):
    """The value of one PDU, as it comes: see `Wire`."""

    def peek(self, count: int) -> memoryview:
        """Its first bytes, which stay there."""
        ...

    def skip(self, count: int) -> None:
        """Take what was peeked at."""
        ...

    def fill(self, window: memoryview) -> None:
        """Put its next bytes there."""
        ...


#: Begins an operation: its context, and its command set.
Begin = Callable[[int, bytes], Operation | None]


class Messages:
    """Puts messages together, one after the other, on the contexts that were accepted.

    `begin` is called with each command set, and returns what its data set goes to, or `None` where none follows.
    """

    def __init__(self, accepted: Container[int], begin: Begin) -> None:
        self._accepted = accepted
        self._begin = begin
        #: Context of the message that is incomplete.
        self._context_id = _NONE
        self._command = bytearray()
        self._operation: Operation | None = None

    def take(self, value: memoryview) -> None:
        """Take the value of one P-DATA-TF PDU.

        Raises:
            InvalidPdu: it holds no whole PDVs, or fragments that nobody expects there.
        """
        offset, end = 0, len(value)
        if not end:
            raise InvalidPdu(AbortReason.INVALID_PARAMETER_VALUE, "a P-DATA-TF without a PDV")
        while offset < end:
            if end - offset < _PDV.size:
                raise InvalidPdu(AbortReason.INVALID_PARAMETER_VALUE, "a P-DATA-TF that ends inside a PDV")
            length, context_id, control = _PDV.unpack_from(value, offset)
            start, offset = offset + _PDV.size, offset + _PDV.size - _OVERHEAD + length
            if length < _OVERHEAD or offset > end:
                raise InvalidPdu(AbortReason.INVALID_PARAMETER_VALUE, f"a PDV of {length} bytes in {end}")
            if context_id != self._context_id:
                self._change_context(context_id)
            if control & _COMMAND:
                self._take_command(value[start:offset], bool(control & _LAST))
            else:
                self._take_data(value[start:offset], bool(control & _LAST))

    def pour(self, source: Source, length: int) -> bool:
        """Let the value of a P-DATA-TF PDU come straight to where its data set will lie, if it is one long fragment.

        `False`, and nothing is taken, where it is not, or nobody wants it so: then it is for `take`.
        """
        operation = self._operation
        if operation is None or length < _LEAST_POURED:
            return False
        size, context_id, control = _PDV.unpack(source.peek(_PDV.size))
        left = length - _PDV.size
        if size - _OVERHEAD != left or context_id != self._context_id or control & _COMMAND:
            return False
        window = operation.window(left)
        if not window:
            return False
        source.skip(_PDV.size)
        while True:
            if window:
                source.fill(window)
                operation.advance(window)
            else:
                # It failed meanwhile, and counts what it throws away.
                window = memoryview(bytearray(min(left, _WASTE_BYTES)))
                source.fill(window)
                operation.write(window)
            left -= len(window)
            if not left:
                break
            window = operation.window(left)
        if control & _LAST:
            self._operation, self._context_id = None, _NONE
            operation.finish()
        return True

    def discard(self) -> None:
        """The association ends: forget a message that is incomplete."""
        operation, self._operation = self._operation, None
        if operation is not None:
            operation.discard()

    def _change_context(self, context_id: int) -> None:
        if self._context_id != _NONE:
            raise InvalidPdu(AbortReason.UNEXPECTED_PARAMETER, "a fragment between those of another context's message")
        if context_id not in self._accepted:
            raise InvalidPdu(AbortReason.UNEXPECTED_PARAMETER, f"context {context_id} was not accepted")
        self._context_id = context_id

    def _take_command(self, piece: memoryview, is_last: bool) -> None:
        if self._operation is not None:
            raise InvalidPdu(AbortReason.UNEXPECTED_PARAMETER, "a command before the end of a data set")
        if len(self._command) + len(piece) > LONGEST_COMMAND_SET:
            raise InvalidPdu(AbortReason.INVALID_PARAMETER_VALUE, "a command set without an end")
        if not is_last:
            self._command += piece
            return
        command = bytes(self._command) + bytes(piece)
        self._command.clear()
        self._operation = self._begin(self._context_id, command)
        if self._operation is None:
            self._context_id = _NONE

    def _take_data(self, piece: memoryview, is_last: bool) -> None:
        operation = self._operation
        if operation is None:
            raise InvalidPdu(AbortReason.UNEXPECTED_PARAMETER, "a data set without a command")
        operation.write(piece)
        if is_last:
            self._operation, self._context_id = None, _NONE
            operation.finish()


def p_data_pdus(context_id: int, command_set: bytes, maximum: int, data_set: bytes = b"") -> bytes:
    """Return the P-DATA-TF PDUs of a message, with its data set if it has one.

    maximum: the peer's Maximum Length Received (PS3.8 §D.1), bytes; 0 where it sets none, else at least 8.
    """
    command = _fragments(context_id, _COMMAND, command_set, maximum)
    return command + _fragments(context_id, 0, data_set, maximum) if data_set else command


def _fragments(context_id: int, kind: int, content: bytes, maximum: int) -> bytes:
    room = maximum - _PDV.size if maximum else len(content)
    if len(content) <= room:
        return _p_data(context_id, kind | _LAST, content)
    # Fragments are of even length (PS3.8 §E.2).
    room -= room % 2
    last = (len(content) - 1) // room * room
    pieces = [_p_data(context_id, kind, content[at : at + room]) for at in range(0, last, room)]
    return b"".join((*pieces, _p_data(context_id, kind | _LAST, content[last:])))


def _p_data(context_id: int, control: int, fragment: bytes) -> bytes:
    length = len(fragment) + _OVERHEAD
    return _P_DATA_TF.pack(PduType.P_DATA_TF, length + 4, length, context_id, control) + fragment
