"""Small networks and plans for the engines' tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from monai.networks.nets import UNet
from numpy.typing import NDArray

from node.imaging.bundle.plan import Activation, Discretisation, Plan, Window
from node.imaging.engines import Way
from node.imaging.engines.windows import walk

PLAN = Plan(
    window=Window(roi=(16, 16, 16), overlap=(0.5,) * 3, batch=4),
    activation=Activation.SOFTMAX,
    discretisation=Discretisation.ARGMAX,
)


def network(classes: int = 3, seed: int = 0) -> torch.nn.Module:
    """A network like the zoo's, small, with batch norms that do something and answers that are not close calls."""
    torch.manual_seed(seed)
    found = UNet(3, 1, classes, (4, 8, 16), (2, 2), num_res_units=1, norm="batch").eval()
    for layer in found.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.running_mean.normal_(0, 0.2)
            layer.running_var.uniform_(0.5, 2)
    return found


class Bright(torch.nn.Module):
    """Voxel by voxel: bright is 1, very bright is 2; no way of computing disagrees."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = torch.nn.Conv3d(1, 3, 1)
        with torch.no_grad():
            self.scores.weight.copy_(torch.tensor([0.0, 1.0, 2.0]).reshape(3, 1, 1, 1, 1))
            self.scores.bias.copy_(torch.tensor([0.0, -10.0, -30.0]))
        self.seen = 0

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return self.scores(windows)


def volume(shape: tuple[int, int, int] = (24, 20, 28)) -> torch.Tensor:
    """(1, …): 0, with a block of 15 in which there is one of 30."""
    values = torch.zeros((1, *shape))
    values[:, 4:16, 4:16, 4:20] = 15
    values[:, 6:12, 6:12, 6:12] = 30
    return values


def reader(values: torch.Tensor) -> Callable[[Way, int], tuple[NDArray[np.uint8], float]]:
    """What reads one case with a way; every engine takes as many seconds as its name has letters."""

    def read(way: Way, case: int) -> tuple[NDArray[np.uint8], float]:
        labels = torch.zeros(values.shape[1:], dtype=torch.uint8)
        with torch.inference_mode():
            for block in walk(values, way.window(tuple(values.shape[1:])), way.forward, batch=way.batch):
                first, row = block.start
                part = block.scores.argmax(0)
                labels[first : first + part.shape[0], row : row + part.shape[1]] = part
        return labels.numpy(), float(len(way.name))

    return read
