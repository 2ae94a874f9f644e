from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import P_DATA_TF

from node.receive import message
from node.receive.command_set import LONGEST_COMMAND_SET
from node.receive.message import Messages, p_data_pdus
from node.receive.upper_layer import AbortReason, InvalidPdu

COMMAND, LAST = 1, 2


def pdv(fragment: bytes, control: int, context_id: int = 1) -> bytes:
    return struct.pack(">IBB", len(fragment) + 2, context_id, control) + fragment


class Sink:
    """Remembers what it is given."""

    def __init__(self) -> None:
        self.content = b""
        self.is_finished = self.is_discarded = False

    def write(self, piece: memoryview) -> None:
        assert isinstance(piece, memoryview)
        self.content += bytes(piece)

    def finish(self) -> None:
        self.is_finished = True

    def discard(self) -> None:
        self.is_discarded = True


class Began:
    """Messages on contexts 1 and 3, and what they began; a command that starts with "!" has no data set."""

    def __init__(self) -> None:
        self.commands: list[tuple[int, bytes]] = []
        self.sinks: list[Sink] = []
        self.messages = Messages({1, 3}, self._begin)

    def _begin(self, context_id: int, command: bytes) -> Sink | None:
        self.commands.append((context_id, command))
        if command.startswith(b"!"):
            return None
        self.sinks.append(Sink())
        return self.sinks[-1]

    def take(self, *pdvs: bytes) -> None:
        self.messages.take(memoryview(b"".join(pdvs)))


@pytest.fixture
def began() -> Began:
    return Began()


def test_a_message_comes_together_from_fragments_and_pdus(began: Began):
    began.take(pdv(b"com", COMMAND))
    began.take(pdv(b"mand", COMMAND | LAST), pdv(b"da", 0))
    began.take(pdv(b"", 0), pdv(b"ta", LAST), pdv(b"next", COMMAND | LAST, 3))
    assert began.commands == [(1, b"command"), (3, b"next")]
    assert (began.sinks[0].content, began.sinks[0].is_finished, began.sinks[1].is_finished) == (b"data", True, False)


def test_a_message_without_a_data_set_is_over_with_its_command(began: Began):
    began.take(pdv(b"!one", COMMAND | LAST), pdv(b"!two", COMMAND | LAST, 3))
    assert began.commands == [(1, b"!one"), (3, b"!two")]


def test_the_upper_bits_of_the_control_header_are_never_checked(began: Began):
    began.take(pdv(b"command", 0xF0 | COMMAND | LAST), pdv(b"data", 0xFC | LAST))
    assert began.sinks[0].is_finished


@pytest.mark.parametrize(
    ("pdvs", "reason"),
    [
        ([b""], AbortReason.INVALID_PARAMETER_VALUE),
        ([b"\0\0\0\2\1"], AbortReason.INVALID_PARAMETER_VALUE),
        ([struct.pack(">IBB", 0, 1, 3)], AbortReason.INVALID_PARAMETER_VALUE),
        ([struct.pack(">IBB", 1, 1, 3)], AbortReason.INVALID_PARAMETER_VALUE),
        ([struct.pack(">IBB", 3, 1, 3)], AbortReason.INVALID_PARAMETER_VALUE),
        ([struct.pack(">IBB", 0xFFFFFFFF, 1, 3) + b"x"], AbortReason.INVALID_PARAMETER_VALUE),
        ([pdv(b"!x", 3), b"\0"], AbortReason.INVALID_PARAMETER_VALUE),
        ([pdv(b"x", 3, 5)], AbortReason.UNEXPECTED_PARAMETER),
        ([pdv(b"x", 3, 0)], AbortReason.UNEXPECTED_PARAMETER),
        ([pdv(b"x", 0)], AbortReason.UNEXPECTED_PARAMETER),
        ([pdv(b"!x", 3), pdv(b"x", 0)], AbortReason.UNEXPECTED_PARAMETER),
        ([pdv(b"x", 1), pdv(b"x", 1, 3)], AbortReason.UNEXPECTED_PARAMETER),
        ([pdv(b"x", 1), pdv(b"x", 0)], AbortReason.UNEXPECTED_PARAMETER),
        ([pdv(b"x", 3), pdv(b"x", 0), pdv(b"x", 0, 3)], AbortReason.UNEXPECTED_PARAMETER),
        ([pdv(b"x", 3), pdv(b"x", 3)], AbortReason.UNEXPECTED_PARAMETER),
        ([pdv(b"x", 3), pdv(b"x", 0), pdv(b"x", 1)], AbortReason.UNEXPECTED_PARAMETER),
    ],
)
def test_what_does_not_belong_there_is_invalid(began: Began, pdvs: list[bytes], reason: AbortReason):
    with pytest.raises(InvalidPdu) as found:
        began.take(*pdvs)
    assert found.value.reason is reason


def test_a_command_set_has_a_limit(began: Began):
    half = bytes(LONGEST_COMMAND_SET // 2)
    began.take(pdv(half, COMMAND), pdv(half, COMMAND))
    with pytest.raises(InvalidPdu) as found:
        began.take(pdv(b"x", COMMAND | LAST))
    assert found.value.reason is AbortReason.INVALID_PARAMETER_VALUE
    assert began.commands == []


def test_an_incomplete_message_is_discarded_once(began: Began):
    began.messages.discard()
    began.take(pdv(b"x", COMMAND | LAST), pdv(b"x", 0))
    began.messages.discard()
    began.messages.discard()
    assert began.sinks[0].is_discarded
    assert not began.sinks[0].is_finished


@settings(max_examples=100)
@given(command=st.binary(min_size=1, max_size=400).map(lambda half: half + half), maximum=st.integers(8, 200))
def test_a_response_is_cut_to_what_the_peer_takes(command: bytes, maximum: int):
    pdus, together = p_data_pdus(5, command, maximum), b""
    while pdus:
        [length] = struct.unpack(">xxI", pdus[:6])
        assert length <= maximum
        pdu = P_DATA_TF()
        pdu.decode(pdus[: 6 + length])
        pdus = pdus[6 + length :]
        [item] = pdu.presentation_data_value_items
        control, fragment = item.presentation_data_value[0], item.presentation_data_value[1:]
        assert item.context_id == 5
        assert control == (COMMAND if pdus else COMMAND | LAST)
        assert len(fragment) % 2 == 0
        together += fragment
    assert together == command


def test_a_peer_without_a_maximum_gets_one_pdu():
    assert p_data_pdus(1, bytes(1000), 0) == struct.pack(">BxI", 4, 1006) + pdv(bytes(1000), 3)


class Value:
    """The value of one PDU, as a wire hands it out."""

    def __init__(self, content: bytes) -> None:
        self.left = memoryview(content)

    def peek(self, count: int) -> memoryview:
        return self.left[:count]

    def skip(self, count: int) -> None:
        self.left = self.left[count:]

    def fill(self, window: memoryview) -> None:
        assert 0 < len(window) <= len(self.left)
        window[:] = self.left[: len(window)]
        self.left = self.left[len(window) :]


class Placed(Sink):
    """Offers room of `size` bytes at a time, while there are no more than `most`."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__()
        self._size, self._most = size, most
        self.written = 0

    def window(self, wanted: int) -> memoryview:
        has_room = len(self.content) < self._most
        return memoryview(bytearray(min(wanted, self._size) if has_room else 0))

    def advance(self, window: memoryview) -> None:
        self.content += bytes(window)

    def write(self, piece: memoryview) -> None:
        super().write(piece)
        self.written += len(piece)


LONG = message._LEAST_POURED


def taking(sink: Sink) -> Messages:
    """Messages in the midst of one whose data set goes to `sink`."""
    messages = Messages({1, 3}, lambda _context, _command: sink)
    messages.take(memoryview(pdv(b"command", COMMAND | LAST)))
    return messages


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 3 * LONG), min_size=1, max_size=4),
    st.integers(1000, 4 * LONG),
    st.one_of(st.just(1 << 30), st.integers(0, 6 * LONG)),
)
def test_fragments_that_are_poured_are_the_ones_that_were_sent(sizes: list[int], room: int, most: int):
    sink = Placed(room, most)
    messages = taking(sink)
    fragments = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    for number, fragment in enumerate(fragments):
        value = Value(pdv(fragment, LAST if number == len(sizes) - 1 else 0))
        if messages.pour(value, len(value.left)):
            assert not value.left
            assert len(fragment) > LONG - 10
        else:
            assert len(value.left) == len(fragment) + 6
            messages.take(value.left)
    assert sink.content == b"".join(fragments)
    assert sink.is_finished
    if most == 1 << 30:
        assert sink.written == sum(size for size in sizes if size + 6 < LONG)


@pytest.mark.parametrize(
    "value",
    [
        pdv(bytes(LONG), COMMAND),
        pdv(bytes(LONG), 0, 3),
        pdv(bytes(LONG), 0)[:-1],
        pdv(bytes(LONG), 0) + b"x",
        pdv(bytes(LONG), 0) + pdv(b"another", 0),
        pdv(bytes(LONG - 7), 0),
    ],
    ids=["a command", "another context", "cut off", "a rest", "two fragments", "short"],
)
def test_what_is_not_one_long_fragment_of_the_message_is_not_poured(value: bytes):
    sink = Placed(LONG, 1 << 30)
    source = Value(value)
    assert not taking(sink).pour(source, len(value))
    assert bytes(source.left) == value
    assert sink.content == b""


def test_nothing_is_poured_between_messages_or_where_nobody_wants_it():
    value = pdv(bytes(LONG), LAST)
    sink = Placed(LONG, 0)
    messages = taking(sink)
    assert not messages.pour(Value(value), len(value))
    messages.take(memoryview(value))
    assert sink.is_finished
    assert not messages.pour(Value(value), len(value))
