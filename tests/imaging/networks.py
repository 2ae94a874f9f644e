"""Networks of a few operations, as TorchScript files."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import torch

from node.domain.model_card import ModelCard
from tests.fakes import card

PARAMETERS: dict[str, float | int] = {
    "coarse_size": 24,
    "fine_size": 48,
    "low_percentile": 0.0,
    "high_percentile": 100.0,
    "intensity_mean": 0.0,
    "intensity_deviation": 1.0,
    "channel": 1,
    "coarse_threshold": 0.5,
    "threshold": 0.5,
    "margin": 0.1,
}


class Bright(torch.nn.Module):
    """Bright is organ."""

    def forward(self, cube: torch.Tensor) -> torch.Tensor:
        bright = torch.sigmoid(4.0 * (cube - 0.5 * (cube.amin() + cube.amax())))
        return torch.cat([1.0 - bright, bright], dim=1)


class Constant(torch.nn.Module):
    """The same everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, cube: torch.Tensor) -> torch.Tensor:
        return torch.cat([1.0 - self.value * torch.ones_like(cube), self.value * torch.ones_like(cube)], dim=1)


class OneNaN(torch.nn.Module):
    """Sound, but for a single voxel."""

    def forward(self, cube: torch.Tensor) -> torch.Tensor:
        both = torch.cat([1.0 - torch.sigmoid(cube), torch.sigmoid(cube)], dim=1)
        both[0, 1, 3, 2, 1] = float("nan")
        return both


class Half(torch.nn.Module):
    """An output of half the size."""

    def forward(self, cube: torch.Tensor) -> torch.Tensor:
        return torch.cat([cube, cube], dim=1)[:, :, ::2]


def saved(network: torch.nn.Module, file: Path) -> Path:
    """Write the network as TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(network).save(file)
    return file


def coarse_to_fine_card(**parameters: object) -> ModelCard:
    return replace(
        card(),
        pipeline="coarse-to-fine",
        parameters={**PARAMETERS, **parameters},
        volumes=(),
    )
