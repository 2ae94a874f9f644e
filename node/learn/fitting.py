"""One training: epochs, learning rate, running mean of the weights, validation, the end; alike for every task.

Each epoch draws from a generator of its own, made of seed and epoch: what was killed and goes on ends where it would
have ended.
"""

from __future__ import annotations

import copy
import math
import time
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
from node.learn.place import Place, number_type
from node.learn.recipe import Training

#: Under this name a validation gives what is to be as high as possible.
SCORE = "score"
#: Power of the "poly" schedule.
_POWER = 0.9
_MOMENTUM = 0.99


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
    state = _State(_optimiser(learner, training), copy.deepcopy(network) if training.average else None)
    _go_on(folder, state, network)
    spread: nn.Module = network
    if place.world > 1:
        spread = nn.parallel.DistributedDataParallel(network, find_unused_parameters=True)
    while state.epoch < training.epochs and not _is_over(state, training):
        started = time.monotonic()
        loss = _epoch(learner, spread, state, training, seed, place, listener)
        figures: Mapping[str, float] = {}
        state.epoch += 1
        if state.epoch % training.validate_every == 0 or state.epoch == training.epochs:
            with torch.no_grad(), _numbers(training, place):
                figures = learner.judge((state.averaged or network).eval(), place.device)
        _remember(state, state.averaged or network, figures)
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
        rate = training.learning_rate * _factor(training, state.epoch + done / steps)
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
            _average(state.averaged, learner.network, training.average, state.updates)
        total += value
        if place.leads:
            listener((done + 1, steps))
    return total / max(1, steps)


def _batches(learner: Learner, epoch: int, steps: int, seed: int, place: Place) -> Iterator[Any]:
    """The batches of this process, each made while the one before it is learnt from."""

    def made(step: int) -> Any:
        index = step * place.world + place.rank
        return learner.batch(epoch, index % learner.steps, random_of(seed, epoch, index))

    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(made, 0)
        for step in range(steps):
            batch = coming.result()
            if step + 1 < steps:
                coming = maker.submit(made, step + 1)
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


def _optimiser(learner: Learner, training: Training) -> torch.optim.Optimizer:
    """Weights decay, and neither biases nor what normalises."""
    groups = []
    for parameters, scale in learner.groups():
        for many, decay in ((True, training.weight_decay), (False, 0.0)):
            chosen = [each for each in parameters if (each.ndim > 1) is many]
            if chosen:
                groups.append({"params": chosen, "scale": scale, "weight_decay": decay})
    if training.optimiser == "sgd":
        return torch.optim.SGD(groups, training.learning_rate, momentum=_MOMENTUM, nesterov=True)
    if training.optimiser == "adamw":
        return torch.optim.AdamW(groups, training.learning_rate)
    problem = f'there is no optimiser "{training.optimiser}"'
    raise Misconfigured("recipe.toml", "training.optimiser", problem, "Choose adamw or sgd")


def _factor(training: Training, at: float) -> float:
    """Factor of the learning rate at a time, in epochs."""
    if at < training.warm_up:
        return (at + 1e-3) / training.warm_up
    share = (at - training.warm_up) / max(1e-9, training.epochs - training.warm_up)
    if training.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    if training.schedule == "poly":
        return float((1 - min(1.0, share)) ** _POWER)
    if training.schedule == "constant":
        return 1.0
    problem = f'there is no schedule "{training.schedule}"'
    raise Misconfigured("recipe.toml", "training.schedule", problem, "Choose cosine, poly or constant")


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, decay: float, updates: int) -> None:
    """Move the running mean: short at first, since there is not much to remember."""
    decay = min(decay, (1 + updates) / (10 + updates))
    for mean, now in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)
    for kept, buffer in zip(averaged.buffers(), network.buffers(), strict=True):
        kept.copy_(buffer)


def _remember(state: _State, network: nn.Module, figures: Mapping[str, float]) -> None:
    score = figures.get(SCORE)
    if score is None:
        return
    if score > state.best:
        state.best, state.since_best = score, 0
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
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        remedy = "Remove the folder, or train with the recipe that it was begun with"
        raise Misconfigured(folder, "", "holds a training of another network", remedy) from error
    state.epoch, state.best, state.since_best = kept["epoch"], kept["best"], kept["since_best"]
    state.best_weights, state.updates, state.history = kept["best_weights"], kept["updates"], kept["history"]


def _line(told: Epoch) -> dict[str, Any]:
    figures = {name: round(float(value), 6) for name, value in told.figures.items() if math.isfinite(value)}
    return {"epoch": told.number, "loss": round(told.loss, 6), "seconds": round(told.seconds, 2), **figures}
