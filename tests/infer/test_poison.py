from __future__ import annotations

from pathlib import Path

import pytest

from node.store.work_items import MAXIMUM_ATTEMPTS
from tests.infer.conftest import fake
from tests.infer.poison import Night, night
from tests.infer.poison_kinds import Poison


def assert_harmless(told: Night, each: int) -> None:
    """Every healthy study has its result, and each poisoned one was given up with the reason."""
    assert told.wrong == []
    assert told.ends.total() == each * len(Poison)
    for poison in Poison:
        ended = "not applicable" if poison is Poison.MODALITY else "failed"
        ends = {end: number for end, number in told.ends.items() if end.startswith(f"{poison}: {ended} after ")}
        assert sum(ends.values()) == each, told.ends
    assert not any(int(end.split()[-2]) > MAXIMUM_ATTEMPTS for end in told.ends)


def test_poisoned_studies_cost_the_others_nothing_but_time(tmp_path: Path):
    told = night(tmp_path, studies=30, poisoned=12, limit_s=0.5, command=fake("poison"))
    assert told.healthy == 18
    assert_harmless(told, 2)


@pytest.mark.soak
def test_thirty_poisoned_studies_cost_the_others_nothing_but_time(tmp_path: Path):
    told = night(tmp_path, studies=75, poisoned=30, limit_s=0.5, command=fake("poison"))
    assert told.healthy == 45
    assert_harmless(told, 5)


@pytest.mark.soak
def test_poison_in_the_real_process_costs_the_others_nothing_but_time(tmp_path: Path):
    told = night(tmp_path, studies=60, poisoned=12, limit_s=1.0)
    assert told.healthy == 48
    assert_harmless(told, 2)
