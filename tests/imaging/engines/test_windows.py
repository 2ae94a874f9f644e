from __future__ import annotations

import random
import weakref

import numpy as np
import pytest
import torch
from monai.inferers import SliceInferer, sliding_window_inference

from node.errors import Failed
from node.imaging.bundle.plan import Blend, Window
from node.imaging.engines.windows import layout, walk

NETWORK = torch.nn.Conv3d(2, 3, 3, padding=1)
FLAT_NETWORK = torch.nn.Conv2d(2, 3, 3, padding=1)


class Felt:
    """A pulse that remembers."""

    def __init__(self) -> None:
        self.beats: list[tuple[int, int]] = []

    def beat(self, done: int, total: int) -> None:
        self.beats.append((done, total))


def put_together(values: torch.Tensor, window: Window, network: torch.nn.Module, **options: object) -> torch.Tensor:
    """All blocks as one answer; each voxel must come once."""
    result = torch.full((3, *values.shape[1:]), float("nan"))
    with torch.inference_mode():
        for block in walk(values, window, network, **options):
            first, row = block.start
            part = result[:, first : first + block.scores.shape[1], row : row + block.scores.shape[2]]
            assert part.shape == block.scores.shape
            assert torch.isnan(part).all()
            part.copy_(block.scores)
    return result


@pytest.mark.parametrize("seed", range(40))
def test_windows_lie_where_monai_lays_them_and_weigh_what_they_weigh_there(seed: int):
    chosen = random.Random(seed)
    shape = [chosen.randint(5, 26) for _ in range(3)]
    roi = [chosen.choice([0, 6, 8, 11, 16]) for _ in range(3)]
    overlap = tuple(chosen.choice([0.0, 0.25, 0.5, 0.6, 0.8]) for _ in range(3))
    blend, padding = chosen.choice(list(Blend)), chosen.choice(["constant", "replicate"])
    value, batch = (0.5 if padding == "constant" else 0.0), chosen.choice([1, 2, 3, 7])
    values = torch.randn((2, *shape), generator=torch.Generator().manual_seed(seed))
    window = Window(roi=tuple(roi), overlap=overlap, blend=blend, padding=padding, padding_value=value, batch=batch)
    with torch.inference_mode():
        expected = sliding_window_inference(
            values[None], roi, batch, NETWORK, overlap=overlap, mode=blend.value, padding_mode=padding, cval=value
        )[0]
    result = put_together(values, window, NETWORK)
    assert (result - expected).abs().max() < 1e-5
    assert torch.equal(result.argmax(0), expected.argmax(0))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_network_of_images_sees_one_slice_after_the_other_as_with_monai(axis: int):
    values = torch.randn((2, 9, 12, 7), generator=torch.Generator().manual_seed(axis))
    inferer = SliceInferer(roi_size=(8, 8), spatial_dim=axis, overlap=0.5, mode="gaussian")
    with torch.inference_mode():
        expected = inferer(values[None], FLAT_NETWORK)[0]
    window = Window(roi=(8, 8), overlap=(0.5, 0.5), blend=Blend.GAUSSIAN, slice_axis=axis, batch=3)
    assert (put_together(values, window, FLAT_NETWORK) - expected).abs().max() < 1e-5


def test_without_a_window_the_network_sees_everything_at_once():
    values = torch.randn((2, 5, 6, 7))
    with torch.inference_mode():
        assert torch.allclose(put_together(values, Window(), NETWORK), NETWORK(values[None])[0], atol=1e-6)


def test_what_is_finished_is_handed_on_before_the_next_layer_of_windows_is_begun():
    felt = Felt()
    blocks = walk(torch.randn(2, 40, 20, 8), Window(roi=(8, 8, 8), overlap=(0.5,) * 3), NETWORK, pulse=felt)
    seen = [(block.start[0], block.scores.shape[1], felt.beats[-1][0] / felt.beats[-1][1]) for block in blocks]
    assert seen[0][0] == 0
    assert seen[0][2] < 0.1
    assert all(planes == 4 for start, planes, _ in seen if start < 32)
    assert [start for start, _, _ in seen] == sorted(start for start, _, _ in seen)


@pytest.mark.parametrize("batch", [1, 3])
def test_of_an_answer_nothing_is_left_when_the_next_one_is_computed(batch: int):
    left: list[weakref.ref[np.ndarray]] = []

    def network(windows: torch.Tensor) -> torch.Tensor:
        assert not any(answer() is not None for answer in left)
        answer = np.zeros((len(windows), 3, *windows.shape[2:]), dtype=np.float32)
        left.append(weakref.ref(answer))
        return torch.from_numpy(answer)

    for _ in walk(torch.zeros((1, 14, 14, 14)), Window(roi=(6, 6, 6), overlap=(0.5,) * 3, batch=batch), network):
        pass
    assert len(left) > 1


def test_the_pulse_is_felt_before_each_batch_and_at_the_end():
    felt = Felt()
    window = Window(roi=(8, 8, 8), overlap=(0.0,) * 3, batch=2)
    put_together(torch.randn(2, 16, 16, 8), window, NETWORK, pulse=felt)
    assert felt.beats == [(0, 4), (2, 4), (4, 4)]


def test_a_value_that_is_no_number_is_refused():
    def broken(windows: torch.Tensor) -> torch.Tensor:
        answers = NETWORK(windows)
        answers[0, 1, 2, 3, 4] = float("nan")
        return answers

    with pytest.raises(Failed, match="not numbers"), torch.inference_mode():
        list(walk(torch.randn(2, 9, 9, 9), Window(roi=(8, 8, 8), overlap=(0.25,) * 3), broken))


def test_an_answer_of_another_extent_is_refused():
    with pytest.raises(Failed, match=r"shape \(1, 2, 4, 8, 8\)"):
        list(walk(torch.randn(2, 8, 8, 8), Window(roi=(8, 8, 8)), lambda windows: windows[:, :, ::2]))


def test_the_number_of_windows_is_known_before():
    lay = layout((200, 272, 272), Window(roi=(96, 96, 96), overlap=(0.25,) * 3))
    assert lay.count == 48
    assert lay.starts[1] == (0, 72, 144, 176)
