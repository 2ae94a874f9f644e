from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.receive.hl7.mllp import Broken, Frames, Overlong


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def frames(connection: socket.socket, **limits: float) -> Frames:
    asked = {"most_bytes": 1000, "idle_s": 5.0, "message_s": 5.0, **limits}
    return Frames(connection, **asked)  # type: ignore[arg-type]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(st.binary(max_size=40).map(lambda text: text.replace(b"\x0b", b"").replace(b"\x1c", b"x")), max_size=5),
    st.integers(min_value=1, max_value=9),
)
def test_messages_are_found_however_they_are_cut(contents: list[bytes], size: int):
    one, other = socket.socketpair()
    with one, other:
        stream = b"".join(b"\x0b" + content + b"\x1c\x0d" for content in contents)
        for start in range(0, len(stream), size):
            one.sendall(stream[start : start + size])
        one.shutdown(socket.SHUT_WR)
        reader = frames(other)
        assert [reader.next() for _ in contents] == contents
        assert reader.next() is None


def test_half_a_frame_is_waited_for_no_longer_than_a_message_may_take(ends: tuple[socket.socket, socket.socket]):
    ends[0].sendall(b"\x0bMSH")
    with pytest.raises(Broken, match="not whole in time"):
        frames(ends[1], message_s=0.05).next()


def test_a_connection_that_is_silent_for_too_long_ends(ends: tuple[socket.socket, socket.socket]):
    assert frames(ends[1], idle_s=0.05).next() is None


def test_a_message_of_the_longest_length_is_taken_and_no_longer_one(ends: tuple[socket.socket, socket.socket]):
    ends[0].sendall(b"\x0b" + b"x" * 1000 + b"\x1c\x0d" + b"\x0b" + b"y" * 1001 + b"\x1c\x0d")
    reader = frames(ends[1])
    assert reader.next() == b"x" * 1000
    with pytest.raises(Overlong) as caught:
        reader.next()
    assert caught.value.beginning.startswith(b"yyy")


def test_an_answer_that_nobody_takes_is_given_up(ends: tuple[socket.socket, socket.socket]):
    with pytest.raises(Broken, match="acknowledgement"):
        frames(ends[1], message_s=0.05).send(b"x" * (8 << 20))
