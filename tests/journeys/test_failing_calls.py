"""Calls on the disk fail, one here, one there: nothing that fails is acknowledged, nothing acknowledged is lost.

Every one of the first two hundred: `benchmarks/failing_calls.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.failing_calls import ERRORS, FailingCalls

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (Debian: strace)"),
]


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[FailingCalls]:
    made = FailingCalls(tmp_path)
    made.room.start()
    yield made
    made.close()


def test_no_failing_call_loses_what_was_acknowledged_or_shuts_the_door(calls: FailingCalls) -> None:
    turns = [calls.turn(error, number, 12) for error in ERRORS for number in range(1, 9)]
    assert not [turn for turn in turns if turn.others or turn.unanswered]
    assert all(sum(turn.failed.values()) for turn in turns)
    assert any(turn.refused for turn in turns), "no call failed where it mattered"
    after = calls.untouched(12)
    assert set(after.statuses.values()) == {0x0000}, "it has to recover by itself"
    losses = calls.losses()
    assert losses.acknowledged >= 12
    assert [losses.unindexed, losses.lost, losses.torn, losses.damage] == [[], [], [], []]
