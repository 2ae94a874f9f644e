from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from node.deliver.lifeline import Listener, Pulse, owner_of


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_a_child_that_was_never_heard_is_silent_after_its_time_to_start(pipe: tuple[int, int]) -> None:
    assert not Listener(pipe[0], start_s=60).is_silent()
    assert Listener(pipe[0], start_s=0).is_silent()


def test_a_child_is_not_silent_before_the_time_that_it_announced(pipe: tuple[int, int]) -> None:
    listener = Listener(pipe[0], start_s=0)
    Pulse(pipe[1]).quiet_for(60)
    assert not listener.is_silent()
    Pulse(pipe[1]).quiet_for(0)
    listener.is_silent()
    time.sleep(0.01)
    assert listener.is_silent()


def test_half_a_line_is_no_sign_of_life_until_the_rest_comes(pipe: tuple[int, int]) -> None:
    listener = Listener(pipe[0], start_s=0)
    os.write(pipe[1], b"6")
    assert listener.is_silent()
    os.write(pipe[1], b"0\n")
    assert not listener.is_silent()


def test_the_owner_of_one_child_is_no_prefix_of_another() -> None:
    assert not owner_of(123).startswith(owner_of(12))
