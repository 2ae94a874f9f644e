from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from node.errors import Failed
from node.imaging.engines import Way, named
from node.imaging.engines.ladder import MOST_TRIES, descend, rungs_for
from node.imaging.formats import Program, network_of
from tests.imaging.engines.small import PLAN, network
from tests.imaging.networks import saved

SHAPE = (32, 32, 32)
CPU = torch.device("cpu")


class Allocator:
    """Gives way only to what is small enough."""

    def __init__(self, enough: object, error: Exception | None = None) -> None:
        self.enough, self.tried = enough, []
        self.error = error or RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")

    def __call__(self, way: Way) -> str:
        self.tried.append((way.batch, way.window(SHAPE).roi, way.dtype))
        if not self.enough(way):
            raise self.error
        return "done"


@pytest.fixture(scope="module")
def rungs():
    return rungs_for(network(), PLAN, SHAPE)


@pytest.fixture(scope="module")
def plain():
    return named("fp32").build(network(), PLAN, CPU)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried …")])
def test_first_one_window_at_a_time_is_tried(rungs, plain, error):
    allocator = Allocator(lambda way: way.batch == 1, error)
    assert descend(allocator, plain, rungs) == ("done", ("memory ran out: one window at a time",))
    assert allocator.tried[-1] == (1, (16, 16, 16), "float32")


def test_then_smaller_windows_and_then_half_precision(rungs, plain):
    allocator = Allocator(lambda way: way.dtype == "bfloat16")
    _, notes = descend(allocator, plain, rungs)
    assert [each[1:] for each in allocator.tried[1:]] == [
        ((16, 16, 16), "float32"), ((8, 8, 8), "float32"), ((8, 8, 8), "bfloat16"),
    ]  # fmt: skip
    assert notes == (
        "memory ran out: one window at a time",
        "memory ran out: smaller windows than the bundle's, 8 × 8 × 8 voxels",
        "memory ran out: half precision (bfloat16)",
    )


def test_after_three_more_tries_it_fails_and_says_what_was_tried(rungs, plain):
    allocator = Allocator(lambda way: False)
    with pytest.raises(Failed, match=r"one window at a time.*smaller windows.*half precision.*no way that needs less"):
        descend(allocator, plain, rungs)
    assert len(allocator.tried) == MOST_TRIES + 1


def test_the_last_try_takes_all_that_is_left(plain):
    def step(name: str):
        return lambda way: (way, name)

    allocator = Allocator(lambda way: len(allocator.tried) == 4)
    _, notes = descend(allocator, plain, [step("a"), step("b"), step("c"), step("d")])
    assert [note.rpartition(" ")[2] for note in notes] == ["a", "b", "c", "d"]


def test_a_volume_in_one_piece_is_first_given_in_the_bundles_windows(rungs):
    whole = named("bf16-whole").build(network(), PLAN, CPU)
    assert whole.window(SHAPE).roi == SHAPE
    allocator = Allocator(lambda way: way.window(SHAPE).roi == (16, 16, 16))
    assert descend(allocator, whole, rungs)[1] == ("memory ran out: windows instead of the whole volume at once",)


def test_a_network_that_takes_no_smaller_window_keeps_its_own(plain):
    class Fixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv3d(1, 3, 3, padding=1)
            self.place = torch.nn.Parameter(torch.zeros(1, 1, 16, 16, 16))

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            return self.layer(windows + self.place)

    fixed = Fixed().eval()
    allocator = Allocator(lambda way: way.dtype == "bfloat16")
    _, notes = descend(allocator, named("fp32").build(fixed, PLAN, CPU), rungs_for(fixed, PLAN, SHAPE))
    assert not any("smaller" in note for note in notes)
    assert allocator.tried[-1] == (1, (16, 16, 16), "bfloat16")


def test_another_error_is_no_lack_of_memory(rungs, plain):
    allocator = Allocator(lambda way: False, RuntimeError("sizes of tensors must match"))
    with pytest.raises(RuntimeError, match="sizes"):
        descend(allocator, plain, rungs)
    assert len(allocator.tried) == 1


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), TypeError("cannot be copied")])
def test_a_rung_that_cannot_be_built_is_left_out(plain, error):
    def no(way: Way) -> tuple[Way, str]:
        raise error

    allocator = Allocator(lambda way: way.batch == 1)
    found = descend(allocator, plain, [no, lambda way: (replace(way, batch=1), "one at a time")])
    assert found == ("done", ("memory ran out: one at a time",))
    lost = RuntimeError("CUDA error: unspecified launch failure")
    with pytest.raises(RuntimeError, match="unspecified"):
        descend(allocator, plain, [lambda way: (_ for _ in ()).throw(lost)])


def test_what_can_be_moved_nowhere_from_here_is_left_to_whoever_can_load_it_elsewhere(plain):
    there = replace(plain, device=torch.device("cuda"))
    with pytest.raises(MemoryError, match=r"one at a time.*no way that needs less"):
        descend(Allocator(lambda way: False), there, [lambda way: (replace(way, batch=1), "one at a time")])


@pytest.mark.parametrize("kind", ["TorchScript", "exported"])
def test_a_program_is_computed_in_its_own_numbers_where_it_lies(plain, kind, tmp_path):
    script = network_of(saved(network(), tmp_path / "net.ts"), None, CPU, own_code=False)
    given = script if kind == "TorchScript" else torch.nn.Sequential(Program(script, 1, CPU))
    *_, half, on_cpu = rungs_for(given, PLAN, SHAPE)
    assert half(plain) is None
    assert on_cpu(replace(plain, device=torch.device("cuda"))) is None


def test_what_is_made_for_one_extent_and_batch_is_given_no_other(rungs):
    half = named("bf16").build(network(), PLAN, CPU)

    def forward(windows: torch.Tensor) -> torch.Tensor:
        assert windows.shape[2:] == PLAN.window.roi
        return half.forward(windows)

    made = replace(half, forward=forward, batch=4, fixed=True)
    allocator = Allocator(lambda way: way.window(SHAPE).roi == (8, 8, 8))
    _, notes = descend(allocator, made, rungs)
    assert allocator.tried == [
        (4, (16, 16, 16), "bfloat16"), (1, (16, 16, 16), "bfloat16"), (1, (8, 8, 8), "bfloat16"),
    ]  # fmt: skip
    assert [note.partition(",")[0] for note in notes] == [
        "memory ran out: one window at a time",
        "memory ran out: smaller windows than the bundle's",
    ]
    for rung in rungs[:2]:
        lesser, _ = rung(replace(made, batch=2))
        assert not lesser.fixed
        assert lesser.forward(torch.zeros((1, 1, *lesser.window(SHAPE).roi))).shape[2:] == lesser.window(SHAPE).roi
