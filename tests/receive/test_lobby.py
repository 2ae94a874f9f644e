from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from node.config import ReceiveSettings
from node.receive.lobby import Lobby


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(4)]
    yield made
    for one, other in made:
        one.close()
        other.close()


def test_the_longest_silent_connection_makes_room(pairs: list[tuple[socket.socket, socket.socket]]):
    lobby = Lobby(ReceiveSettings(maximum_associations=2))
    for ours, _ in pairs[:3]:
        lobby.enter(ours)
    first, second = pairs[0][1], pairs[1][1]
    first.settimeout(5)
    assert first.recv(1) == b""
    second.setblocking(False)
    with pytest.raises(BlockingIOError):
        second.recv(1)


def test_associations_are_counted_in_all_and_by_peer(pairs: list[tuple[socket.socket, socket.socket]]):
    lobby = Lobby(ReceiveSettings(maximum_associations=3, maximum_associations_per_peer=2))
    one, two, three, four = (ours for ours, _ in pairs)
    assert [lobby.admit(one, "A"), lobby.admit(two, "A")] == ["", ""]
    assert lobby.admit(three, "A") == "2 associations of A at once"
    assert lobby.admit(three, "B") == ""
    assert lobby.admit(four, "C") == "3 associations at once"
    lobby.leave(one)
    assert lobby.admit(four, "C") == ""
    assert not lobby.is_empty()
    for each in (two, three, four):
        lobby.leave(each)
    assert lobby.is_empty()
