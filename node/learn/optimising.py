"""How weights move: the optimiser, the schedule of its learning rate, and a running mean that follows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from node.learn.recipe import Training

#: Power of the "poly" schedule.
_POWER = 0.9
_MOMENTUM = 0.99


def optimiser(stages: Iterable[tuple[Sequence[nn.Parameter], float]], training: Training) -> torch.optim.Optimizer:
    """Return what moves the weights: parameters, each with its factor of the learning rate as "scale".

    Weights decay, and neither biases nor what normalises.
    """
    groups = []
    for parameters, scale in stages:
        for many, decay in ((True, training.weight_decay), (False, 0.0)):
            chosen = [each for each in parameters if (each.ndim > 1) is many]
            if chosen:
                groups.append({"params": chosen, "scale": scale, "weight_decay": decay})
    if training.optimiser == "sgd":
        return torch.optim.SGD(groups, training.learning_rate, momentum=_MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, training.learning_rate)


def factor(training: Training, at: float) -> float:
    """Return the factor of the learning rate at a time, in epochs."""
    if at < training.warm_up:
        return (at + 1e-3) / training.warm_up
    share = (at - training.warm_up) / max(1e-9, training.epochs - training.warm_up)
    if training.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    if training.schedule == "poly":
        return float((1 - min(1.0, share)) ** _POWER)
    return 1.0


@torch.no_grad()
def average(averaged: nn.Module, network: nn.Module, decay: float, updates: int) -> None:
    """Move the running mean: short at first, since there is not much to remember."""
    decay = min(decay, (1 + updates) / (10 + updates))
    for mean, now in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)
    for kept, buffer in zip(averaged.buffers(), network.buffers(), strict=True):
        kept.copy_(buffer)
