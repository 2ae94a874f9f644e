"""A network from one file, with its input prepared and its output read as the card's `[preparation]` says.

The file is TorchScript, torch.export (`.pt2`), an AOTInductor package (`.pt2`), ONNX (`.onnx`, with the extra `onnx`),
or weights alone (safetensors, `torch.save`) for the network of MONAI that `[architecture]` names. It is given
(batch, channel, axis, axis, axis) float32, of single images (batch, channel, row, column), and answers with
(batch, class, …) of the same extent; as a classifier with (batch, number).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from node.domain.model_card import Task
from node.errors import Failed, Misconfigured, Unsuitable
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
    if list(fitting.weights) != [ROLE]:
        roles = ", ".join(fitting.weights) or "none"
        raise Misconfigured("model.toml", "weights", f"roles are {roles}", f'Give one file, with the role "{ROLE}"')
    bundle = declared.configuration(card, fitting.folder, fitting.device)
    made = steps.resolved(bundle, own_code=False)
    batch, own_code = card.preparation.batch, fitting.own_code
    network = network_of(fitting.weights[ROLE], card.architecture, device, own_code=own_code, batch=batch)
    if card.task is Task.CLASSIFICATION and card.preparation.activation == "none":
        network = nn.Sequential(network, Unshared(exclusive=card.exclusive))
    return Network(fitting, Exact(replace(made, network=network), device), bundle, opaque=_is_opaque(network))


class Network(Bundle):
    """A network from one file, loaded."""

    def __init__(self, fitting: Fitting, exact: Exact, bundle: Configuration, *, opaque: bool) -> None:
        super().__init__(fitting, exact, bundle)
        self._opaque = opaque

    def explainable(self) -> Explainable:
        """See `imaging.explain.CanBeExplained`."""
        if self._opaque:
            raise Unsuitable("its file is a program (.pt2 or .onnx): nobody can look into its layers")
        return super().explainable()


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
