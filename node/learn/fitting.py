"""One training: epochs, learning rate, running mean of the weights, validation, the end; alike for every task.

Each epoch draws from a generator of its own, made of seed and epoch: what was killed and goes on ends where it would
have ended.
"""

from __future__ import annotations

import copy
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from node.errors import Failed, Misconfigured
from node.learn import checkpoint
from node.learn.optimising import average, factor, optimiser
from node.learn.place import Place, number_type
from node.learn.recipe import Training

#: Under this name a validation gives what is to be as high as possible.
SCORE = "score"
#: Batches that are made ahead for a GPU, each on a thread of its own; a processor has none to spare.
_AHEAD = 4


class Learner(Protocol):
    """What differs from task to task."""

    @property
    def network(self) -> nn.Module:
        """What is trained."""
        ...

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        ...

    def groups(self) -> Sequence[tuple[Sequence[nn.Parameter], float]]:
        """Parameters that are trained, and by which factor of the learning rate; every one that ever is."""
        ...

    def begin(self, epoch: int) -> None:
        """Make ready for an epoch, 0 is the first: let go of stages, put the network into training mode."""
        ...

    def batch(self, epoch: int, index: int, random: np.random.Generator) -> Any:
        """Make batch `index` of an epoch, on the CPU; called from another thread, ahead of its use."""
        ...

    def loss(self, network: nn.Module, batch: Any, device: torch.device) -> torch.Tensor:
        """Return the loss of a batch, one number."""
        ...

    def judge(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        """Validate; `SCORE` is among the figures where there is anything to validate on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What is told of one epoch."""

    number: int
    of: int
    loss: float
    #: What validation gave; empty in epochs without one.
    figures: Mapping[str, float] = field(default_factory=dict)
    seconds: float


#: Is told of batches within an epoch (done, of) and of each epoch's end.
Listener = Callable[[Epoch | tuple[int, int]], None]


@dataclass(slots=True)
class _State:
    """All that changes as a training goes on."""

    optimiser: torch.optim.Optimizer
    averaged: nn.Module | None
    epoch: int = 0
    best: float = -math.inf
    best_weights: dict[str, torch.Tensor] | None = None
    since_best: int = 0
    updates: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def fit(
    learner: Learner, training: Training, folder: Path, seed: int, place: Place, listener: Listener
) -> list[dict[str, Any]]:
    """Train the learner's network in place, going on from what `folder` keeps; return what is told of each epoch.

    At the end the network has the weights that are kept: the best ones where `patience` is set, else the last; of the
    running mean where there is one.

    Raises:
        Failed: the loss is no number any more.
        Misconfigured: what `folder` keeps does not belong to this network.
    """
    network = _laid_out(learner.network.to(place.device))
    state = _State(optimiser(learner.groups(), training), copy.deepcopy(network) if training.average else None)
    _go_on(folder, state, network)
    spread: nn.Module = network
    if place.world > 1:
        spread = nn.parallel.DistributedDataParallel(network, find_unused_parameters=True)
        if state.averaged is not None and not state.epoch:
            # Every process has the first one's weights now: its mean begins there, too.
            state.averaged.load_state_dict(network.state_dict())
    while state.epoch < training.epochs and not _is_over(state, training):
        started = time.monotonic()
        loss = _epoch(learner, spread, state, training, seed, place, listener)
        figures: Mapping[str, float] = {}
        state.epoch += 1
        if state.epoch % training.validate_every == 0 or state.epoch == training.epochs:
            with torch.no_grad(), _numbers(training, place):
                figures = _agreed(learner.judge((state.averaged or network).eval(), place.device), place)
        _remember(state, state.averaged or network, figures, training)
        seconds = time.monotonic() - started
        told = Epoch(number=state.epoch, of=training.epochs, loss=loss, figures=dict(figures), seconds=seconds)
        state.history.append(_line(told))
        if place.leads:
            _keep(folder, state, network)
            listener(told)
    kept = state.best_weights if training.patience and state.best_weights else None
    network.load_state_dict(kept or (state.averaged or network).state_dict())
    network.eval()
    return state.history


def random_of(seed: int, *place: int) -> np.random.Generator:
    """Return the generator of one place in a training: an epoch, a batch."""
    return np.random.default_rng([seed, *place])


def _epoch(
    learner: Learner,
    network: nn.Module,
    state: _State,
    training: Training,
    seed: int,
    place: Place,
    listener: Listener,
) -> float:
    """Train through one epoch; return the mean loss."""
    # Dropout and its like draw from torch's own generator.
    torch.manual_seed(int(random_of(seed, state.epoch).integers(1 << 62)) + place.rank)
    learner.begin(state.epoch)
    total = 0.0
    steps = math.ceil(learner.steps / place.world)
    for done, batch in enumerate(_batches(learner, state.epoch, steps, seed, place)):
        rate = training.learning_rate * factor(training, state.epoch + done / steps)
        for group in state.optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        with _numbers(training, place):
            loss = learner.loss(network, batch, place.device)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise Failed(f"the loss of epoch {state.epoch + 1} is {value}: a lower learning rate may help")
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if training.clip:
            nn.utils.clip_grad_norm_(network.parameters(), training.clip)
        state.optimiser.step()
        state.updates += 1
        if state.averaged is not None:
            average(state.averaged, learner.network, training.average, state.updates)
        total += value
        if place.leads:
            listener((done + 1, steps))
    _share_buffers(learner.network, state, place)
    return total / max(1, steps)


@torch.no_grad()
def _share_buffers(network: nn.Module, state: _State, place: Place) -> None:
    """Give every process the first one's statistics: each has seen other batches."""
    if place.world > 1:
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, 0)
        for kept, buffer in zip(state.averaged.buffers() if state.averaged else (), network.buffers(), strict=False):
            kept.copy_(buffer)


def _agreed(figures: Mapping[str, float], place: Place) -> Mapping[str, float]:
    """The first process's figures: what ends a training has to end it in all of them."""
    if place.world == 1:
        return figures
    said: list[Any] = [dict(figures)]
    torch.distributed.broadcast_object_list(said, 0)
    return dict(said[0])


def _batches(learner: Learner, epoch: int, steps: int, seed: int, place: Place) -> Iterator[Any]:
    """The batches of this process, made while those before them are learnt from."""
    ahead = _AHEAD if place.device.type == "cuda" else 1

    def made(step: int) -> Any:
        index = step * place.world + place.rank
        return learner.batch(epoch, index % learner.steps, random_of(seed, epoch, index))

    with ThreadPoolExecutor(ahead) as makers:
        coming = deque(makers.submit(made, step) for step in range(min(ahead, steps)))
        for step in range(steps):
            batch = coming.popleft().result()
            if step + ahead < steps:
                coming.append(makers.submit(made, step + ahead))
            yield batch


def _laid_out(network: nn.Module) -> nn.Module:
    """Channels last in memory: convolutions are up to three times faster so, on processors and GPUs."""
    for kind, layout in ((nn.Conv3d, torch.channels_last_3d), (nn.Conv2d, torch.channels_last)):
        if any(isinstance(part, kind) for part in network.modules()):
            return network.to(memory_format=layout)  # type: ignore[call-overload,no-any-return]
    return network


def _numbers(training: Training, place: Place) -> torch.autocast:
    dtype = number_type(training.precision, place.device)
    return torch.autocast(place.device.type, dtype=torch.bfloat16, enabled=dtype is torch.bfloat16)


def _remember(state: _State, network: nn.Module, figures: Mapping[str, float], training: Training) -> None:
    score = figures.get(SCORE)
    if score is None:
        return
    if score > state.best:
        state.best, state.since_best = score, 0
        if training.patience:
            state.best_weights = {name: each.detach().cpu().clone() for name, each in network.state_dict().items()}
    else:
        state.since_best += 1


def _is_over(state: _State, training: Training) -> bool:
    return bool(training.patience) and state.since_best >= training.patience


def _keep(folder: Path, state: _State, network: nn.Module) -> None:
    kept = {
        "network": network.state_dict(),
        "averaged": state.averaged.state_dict() if state.averaged is not None else None,
        "optimiser": state.optimiser.state_dict(),
        "epoch": state.epoch,
        "best": state.best,
        "best_weights": state.best_weights,
        "since_best": state.since_best,
        "updates": state.updates,
    }
    checkpoint.save(folder, kept, state.history)


def _go_on(folder: Path, state: _State, network: nn.Module) -> None:
    kept = checkpoint.restore(folder)
    if kept is None:
        return
    try:
        network.load_state_dict(kept["network"])
        if state.averaged is not None:
            state.averaged.load_state_dict(kept["averaged"])
        state.optimiser.load_state_dict(kept["optimiser"])
        state.epoch, state.best, state.since_best = kept["epoch"], kept["best"], kept["since_best"]
        state.best_weights, state.updates, state.history = kept["best_weights"], kept["updates"], kept["history"]
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        remedy = "Remove the folder, or train with the recipe that it was begun with"
        raise Misconfigured(folder, "", "holds a training of another network", remedy) from error


def _line(told: Epoch) -> dict[str, Any]:
    figures = {name: round(float(value), 6) for name, value in told.figures.items() if math.isfinite(value)}
    return {"epoch": told.number, "loss": round(told.loss, 6), "seconds": round(told.seconds, 2), **figures}
