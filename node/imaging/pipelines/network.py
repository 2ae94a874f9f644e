"""A network from one file, with its input prepared and its output read as the card's `[preparation]` says.

The file is TorchScript, torch.export (`.pt2`), an AOTInductor package (`.pt2`), ONNX (`.onnx`, with the extra `onnx`),
or weights alone (safetensors, `torch.save`) for the network of MONAI that `[architecture]` names. It is given
(batch, channel, axis, axis, axis) float32, of single images (batch, channel, row, column), and answers with
(batch, class, …) of the same extent; as a classifier with (batch, number). Several files are networks that take and
give the same, of one architecture or of each its own, whose shares are averaged.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from node.domain.model_card import Task
from node.errors import Failed, Misconfigured, Unsuitable
from node.imaging.averaged import as_one
from node.imaging.bundle import declared, steps
from node.imaging.bundle.configuration import Configuration
from node.imaging.bundle.exact import Exact
from node.imaging.bundle.labels import EMPTY, LABELS
from node.imaging.explain import Explainable
from node.imaging.formats import Program, network_of
from node.imaging.pipelines import Fitting, Runner, check_parameters
from node.imaging.pipelines.bundle import Bundle

ROLE = "network"
#: How far a share may lie outside 0 to 1 by rounding, and the least that is told from 0 and 1.
_ROUNDING, _LEAST = 1e-3, 1e-6


def load(fitting: Fitting) -> Runner:
    """Load the file (see `Pipeline`)."""
    card, device = fitting.card, torch.device(fitting.device)
    check_parameters(card, (LABELS, EMPTY))
    segments = card.task is Task.SEGMENTATION and card.needs_volume and card.segments
    if not segments and not (card.task is Task.CLASSIFICATION and card.targets):
        problem = "this pipeline outlines segments in volumes, and classifies images and volumes"
        raise Misconfigured("model.toml", "task", problem, "Use a bundle for other tasks")
    if next(iter(fitting.weights), "") != ROLE:
        roles = ", ".join(fitting.weights) or "none"
        raise Misconfigured("model.toml", "weights", f"roles are {roles}", f'Give the first file the role "{ROLE}"')
    bundle = declared.configuration(card, fitting.folder, fitting.device)
    made = steps.resolved(bundle, own_code=False)
    members = [_member(fitting, role, path, device) for role, path in fitting.weights.items()]
    said = card.preparation
    network = as_one(members, said.activation, said.flips, said.views)
    elsewhere = dict.fromkeys(each.elsewhere for each in network.modules() if isinstance(each, Program))
    notes = (*made.notes, *(f"the network was computed {where}" for where in elsewhere if where))
    exact = Exact(replace(made, network=_finished(network, fitting), notes=notes), device)
    return Network(fitting, exact, bundle, plain=_finished(members[0], fitting))


def _member(fitting: Fitting, role: str, path: Path, device: torch.device) -> nn.Module:
    batch, own_code = fitting.card.preparation.batch, fitting.own_code
    return network_of(path, fitting.card.architecture_of(role), device, own_code=own_code, batch=batch)


def _finished(network: nn.Module, fitting: Fitting) -> nn.Module:
    """The network with what makes numbers of its shares, where it is a classifier that gives shares."""
    card = fitting.card
    if card.task is Task.CLASSIFICATION and card.preparation.activation == "none":
        return nn.Sequential(network, Unshared(exclusive=card.exclusive))
    return network


class Network(Bundle):
    """A network from one file, or the mean of several, loaded."""

    def __init__(self, fitting: Fitting, exact: Exact, bundle: Configuration, *, plain: nn.Module) -> None:
        super().__init__(fitting, exact, bundle)
        self._plain = plain

    def explainable(self) -> Explainable:
        """See `imaging.explain.CanBeExplained`; of several networks the first one's answer is explained."""
        if _is_opaque(self._plain):
            raise Unsuitable("its file is a program (.pt2 or .onnx): nobody can look into its layers")
        return replace(super().explainable(), network=self._plain)


class Unshared(nn.Module):
    """Turns shares, 0 to 1, into numbers whose sigmoids they are, or of exclusive ones whose softmax."""

    def __init__(self, *, exclusive: bool) -> None:
        super().__init__()
        self._exclusive = exclusive

    def forward(self, shares: torch.Tensor) -> torch.Tensor:
        """Map shares to numbers.

        Raises:
            Failed: they are no shares.
        """
        low, high = (float(value) for value in torch.aminmax(shares.detach()))
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise Failed(f"the network gave {low:.6g} to {high:.6g}, and its card says that these are shares, 0 to 1")
        return shares.clamp_min(_LEAST).log() if self._exclusive else torch.logit(shares, eps=_LEAST)


def _is_opaque(network: nn.Module) -> bool:
    return any(isinstance(each, Program) for each in network.modules())
