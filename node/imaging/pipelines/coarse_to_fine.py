"""Coarse to fine: a first network finds the organ in the whole volume, a second one segments the box around it.

Both see upright cubes (`node.imaging.resample`); the answer returns to the source grid as a probability,
is cut at the threshold there, and the largest component is kept with its holes filled.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from node.domain.engine import EngineEvidence
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard
from node.errors import Failed, Misconfigured, Unsuitable
from node.imaging.components import Mask, bounds, fill_holes, largest_component
from node.imaging.cut import above
from node.imaging.device import wait_for
from node.imaging.engines import cubes
from node.imaging.engines.measuring import Progress
from node.imaging.engines.windows import Forward
from node.imaging.explain import Explainable, Prepared
from node.imaging.pipelines import STILL, Fitting, Given, Pulse, Reading, check_parameters
from node.imaging.resample import Ranges, box_around, cover, grid_over, part, resample
from node.imaging.volume import Volume

#: Roles of the two TorchScript files.
COARSE, FINE = "coarse", "fine"
#: Share of the values below which a difference is rounding alone.
_FLAT = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What the card's `parameters` may say; each network maps (1, 1, n, n, n) to (1, channels, n, n, n)."""

    #: Voxels along each side of the cube that the network sees.
    coarse_size: int
    fine_size: int
    #: Percentiles of the coarse cube between which intensities are clipped.
    low_percentile: float
    high_percentile: float
    #: Mean and standard deviation of the clipped intensities that the networks expect.
    intensity_mean: float
    intensity_deviation: float
    #: Channel of the output that holds the probability of the organ.
    channel: int
    #: Probability above which a voxel belongs to the organ.
    coarse_threshold: float
    threshold: float
    #: Share of its length by which each side of the coarse box is moved outwards.
    margin: float


class CoarseToFine:
    """The two networks, loaded."""

    def __init__(
        self,
        parameters: Parameters,
        segment_number: int,
        networks: Mapping[str, torch.jit.ScriptModule],
        fitting: Fitting,
    ) -> None:
        self._fitting = fitting
        self._parameters = parameters
        self._segment_number = segment_number
        self._networks = networks
        self._sides = {COARSE: parameters.coarse_size, FINE: parameters.fine_size}
        self._forwards, self._notes = cubes.chosen(fitting, networks, self._sides)
        self._device = torch.device(fitting.device)
        self._model_s = 0.0

    def warm_up(self) -> None:
        """Run both networks on an empty cube."""
        with torch.inference_mode():
            for role, side in self._sides.items():
                self._forwards[role](torch.zeros((1, 1, side, side, side), device=self._device))

    def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
        """Segment one volume (see `Runner`)."""
        volume = given.volume
        started, self._model_s = time.perf_counter(), 0.0
        with torch.inference_mode():
            found, ranges = self._found(volume, pulse)
        prepared = time.perf_counter()
        labels = np.zeros(volume.grid.shape, dtype=np.uint8)
        box = tuple(slice(start, stop) for start, stop in ranges)
        organ = fill_holes(largest_component(found))
        if not organ.any():
            raise Failed("the second network finds nothing in the volume")
        np.multiply(organ, np.uint8(self._segment_number), out=labels[box], casting="unsafe")
        if labels.all():
            raise Failed("the model takes every voxel of the volume for the organ")
        timings = {
            "prepare_s": prepared - started - self._model_s,
            "model_s": self._model_s,
            "finish_s": time.perf_counter() - prepared,
        }
        return Reading(labels=labels, notes=self._notes, timings=timings)

    def measure(self, cases: Sequence[Path], measured_at: datetime, progress: Progress) -> EngineEvidence:
        """See `imaging.engines.measuring.CanBeMeasured`: both networks are run with the same engine."""

        def read(volume: Volume, forwards: Mapping[str, Forward]) -> tuple[NDArray[np.uint8], float]:
            other = copy.copy(self)
            other._forwards = forwards
            reading = other.run(Given(volumes={"": volume}))
            assert reading.labels is not None
            return reading.labels, reading.timings["model_s"]

        return cubes.measured(self._fitting, self._networks, self._sides, read, cases, measured_at, progress)

    def explainable(self) -> Explainable:
        """The second network, on the cube that the first one leads to (see `imaging.explain.CanBeExplained`)."""

        def prepare(given: Given, _image: int) -> Prepared:
            with torch.inference_mode():
                cube, grid = self._around(given.volume, STILL)
            return Prepared(inputs=cube[None, None], placed=grid, given=given.volume.grid)

        channels = {self._segment_number: self._parameters.channel}
        return Explainable(
            network=self._networks[FINE],
            prepare=prepare,
            channels=channels,
            model_digest=self._fitting.model_digest,
        )

    def _found(self, volume: Volume, pulse: Pulse) -> tuple[Mask, Ranges]:
        """Return where the organ may be on a part of the source grid, and which part; elsewhere it is not."""
        parameters = self._parameters
        fine, fine_grid = self._around(volume, pulse)
        probability = self._forward(FINE, fine)
        inner = bounds(largest_component((probability > parameters.threshold).cpu().numpy()))
        if inner is None:
            raise Failed("the second network finds nothing in the volume")
        # Between a voxel above the threshold and its neighbour below, the surface is somewhere: one voxel more.
        (a, b), (c, d), (e, f) = inner
        ranges = cover(volume.grid, part(fine_grid, ((a - 1, b + 1), (c - 1, d + 1), (e - 1, f + 1))))
        return above(probability, fine_grid, part(volume.grid, ranges), parameters.threshold), ranges

    def _around(self, volume: Volume, pulse: Pulse) -> tuple[torch.Tensor, Grid]:
        """What the second network is given: a cube around what the first one finds, and where that lies."""
        parameters = self._parameters
        # A copy: what was read may not be written to, and PyTorch warns of such arrays.
        values = torch.as_tensor(np.array(volume.array, dtype=np.float32), device=self._device)
        outside, greatest = (float(end) for end in torch.aminmax(values))
        if not np.isfinite(outside + greatest):
            raise Unsuitable("the volume holds values that are not numbers")
        whole = box_around(volume.grid)
        coarse_grid = grid_over(whole, (parameters.coarse_size,) * 3)
        coarse = resample(values, volume.grid, coarse_grid, outside=outside)
        window = self._window(coarse)
        found = self._forward(COARSE, self._normalised(coarse, window)).cpu().numpy() > parameters.coarse_threshold
        box = bounds(largest_component(found))
        if box is None:
            raise Failed("the first network finds nothing in the volume")
        pulse.beat(1, 2)
        around = box_around(part(coarse_grid, (box[0], box[1], box[2]))).grown(parameters.margin).within(whole)
        fine_grid = grid_over(around, (parameters.fine_size,) * 3)
        fine = resample(values, volume.grid, fine_grid, outside=outside)
        return self._normalised(fine, window), fine_grid

    def _window(self, coarse: torch.Tensor) -> tuple[float, float]:
        shares = (self._parameters.low_percentile / 100, self._parameters.high_percentile / 100)
        low, high = np.quantile(coarse.cpu().numpy(), shares)
        if high - low <= _FLAT * max(abs(low), abs(high)):
            raise Unsuitable("the volume is blank: nearly all voxels have the same value")
        return float(low), float(high)

    def _normalised(self, values: torch.Tensor, window: tuple[float, float]) -> torch.Tensor:
        """Clip to the window and bring to the mean and deviation that the networks expect; in place."""
        values.clamp_(*window)
        values.sub_(values.mean())
        deviation = torch.linalg.vector_norm(values) / (values.numel() - 1) ** 0.5
        return values.mul_(self._parameters.intensity_deviation / deviation).add_(self._parameters.intensity_mean)

    def _forward(self, role: str, cube: torch.Tensor) -> torch.Tensor:
        """Run one network on a cube (x, y, z) and return its checked probability, same shape."""
        started = time.perf_counter()
        output = self._forwards[role](cube[None, None])
        wait_for(self._device)
        self._model_s += time.perf_counter() - started
        channel = self._parameters.channel
        if output.ndim != 5 or output.shape[1] <= channel or output.shape[2:] != cube.shape:
            raise Failed(f"the {role} network gave an output of shape {tuple(output.shape)}")
        probability: torch.Tensor = output[0, channel].float()
        low, high = (float(value) for value in torch.aminmax(probability))
        if not np.isfinite(low + high):
            raise Failed(f"the {role} network gave values that are not numbers (NaN or infinite)")
        if low < -1e-3 or high > 1 + 1e-3:
            raise Failed(f"the {role} network gave values from {low:.3g} to {high:.3g}: no probabilities")
        return probability.contiguous()


def load(fitting: Fitting) -> CoarseToFine:
    """Load both networks (see `Pipeline`)."""
    card, weights = fitting.card, fitting.weights
    parameters = _parameters(card)
    if len(card.segments) != 1:
        raise Misconfigured("model.toml", "segments", f"{len(card.segments)} segments", "This pipeline makes one")
    missing = [role for role in (COARSE, FINE) if role not in weights]
    if missing:
        problem = f"no weights with the role {' and '.join(missing)}"
        raise Misconfigured("model.toml", "weights", problem, "This pipeline needs the roles coarse and fine")
    place = torch.device(fitting.device)
    networks = {role: _network(weights[role], place) for role in (COARSE, FINE)}
    return CoarseToFine(parameters, card.segments[0].number, networks, fitting)


def _network(path: Path, device: torch.device) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        # TorchScript is what the published weights are in; PyTorch 2.13 still reads it.
        warnings.filterwarnings("ignore", message=".*torch.jit.load.* is deprecated", category=DeprecationWarning)
        try:
            module: torch.jit.ScriptModule = torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            problem = f"{path} is no TorchScript file ({str(error).strip().splitlines()[0]})"
            raise Misconfigured("model.toml", "weights", problem, "Give a file written by torch.jit.save") from error
    module.eval()
    return module


def _parameters(card: ModelCard) -> Parameters:
    """Check the card's parameters, by name, type and range.

    Raises:
        Misconfigured: one is missing, unknown, of the wrong type or out of range.
    """
    values: dict[str, float | int] = {}
    for field in fields(Parameters):
        key = f"parameters.{field.name}"
        if field.name not in card.parameters and field.default is MISSING:
            raise Misconfigured("model.toml", key, "is missing", "Add it")
        value = card.parameters.get(field.name, field.default)
        whole = field.type == "int"
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise Misconfigured("model.toml", key, f"is {value!r}", f"Give a {'whole ' if whole else ''}number")
        values[field.name] = value
    check_parameters(card, (field.name for field in fields(Parameters)))
    for name, (low, high) in _RANGES.items():
        if not low <= values[name] <= high:
            raise Misconfigured("model.toml", f"parameters.{name}", f"is {values[name]}", f"Give {low} to {high}")
    if values["low_percentile"] >= values["high_percentile"]:
        raise Misconfigured("model.toml", "parameters.low_percentile", "is not below high_percentile", "Lower it")
    return Parameters(**values)  # type: ignore[arg-type]


_RANGES: dict[str, tuple[float, float]] = {
    "coarse_size": (8, 512),
    "fine_size": (8, 512),
    "low_percentile": (0, 100),
    "high_percentile": (0, 100),
    "intensity_deviation": (1e-6, 1e6),
    "channel": (0, 255),
    "coarse_threshold": (0, 1),
    "threshold": (0, 1),
    "margin": (0, 1),
}
