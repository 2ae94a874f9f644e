from __future__ import annotations

import pytest
import torch

from node.imaging.cores import shares, spread, undivided


def test_torch_has_its_threads_again_also_after_a_fault():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), undivided() as cores:
        assert cores == before
        assert torch.get_num_threads() == 1
        _ = 1 // 0
    assert torch.get_num_threads() == before


def test_every_part_is_worked_on_once_in_the_inference_mode_of_the_caller():
    for cores in (1, 3):
        for mode in (True, False):
            done: list[tuple[int, bool]] = []
            with torch.inference_mode(mode):
                spread(lambda part, done=done: done.append((part, torch.is_inference_mode_enabled())), range(7), cores)
            assert sorted(done) == [(part, mode) for part in range(7)]


def test_a_fault_in_one_part_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        spread(lambda part: 1 // part, range(4), 2)


def test_shares_follow_each_other_and_leave_nothing_out():
    for count in (1, 2, 7, 100):
        for cores in (1, 2, 5):
            found = shares(count, cores)
            assert [index for share in found for index in range(count)[share]] == list(range(count))
            assert len(found) == min(count, cores)
