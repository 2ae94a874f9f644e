"""What is acknowledged outlasts the death of the process that said so, whenever it comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.door_storm import DoorStorm

pytestmark = pytest.mark.timeout(600)


def test_kill_nine_while_three_senders_go_on_loses_tears_and_forgets_nothing(tmp_path: Path) -> None:
    losses = DoorStorm(tmp_path, kills=6, seed=3).run()
    assert losses.acknowledged > 0
    assert losses.unindexed == []
    assert losses.lost == []
    assert losses.torn == []
    assert losses.damage == []
