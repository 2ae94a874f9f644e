"""A network from one file, with its input prepared and its output read as the card's `[preparation]` says.

The file is TorchScript, torch.export (`.pt2`), an AOTInductor package (`.pt2`), ONNX (`.onnx`, with the extra `onnx`),
or weights alone (safetensors, `torch.save`) for the network of MONAI that `[architecture]` names. It is given
(batch, channel, axis, axis, axis) float32 and answers with (batch, class, …) of the same extent.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.imaging.bundle import declared, steps
from node.imaging.bundle.exact import Exact
from node.imaging.bundle.labels import EMPTY, LABELS
from node.imaging.formats import network_of
from node.imaging.pipelines import Fitting, Runner
from node.imaging.pipelines.bundle import Bundle

ROLE = "network"


def load(fitting: Fitting) -> Runner:
    """Load the file (see `Pipeline`)."""
    card, device = fitting.card, torch.device(fitting.device)
    unknown = sorted(set(card.parameters) - {LABELS, EMPTY})
    if unknown:
        raise Misconfigured("model.toml", f"parameters.{unknown[0]}", "is unknown to this pipeline", "Remove it")
    if card.task is not Task.SEGMENTATION or not card.needs_volume or not card.segments:
        remedy = "Use a bundle for other tasks, and for images"
        raise Misconfigured("model.toml", "task", "this pipeline outlines segments in volumes", remedy)
    if list(fitting.weights) != [ROLE]:
        roles = ", ".join(fitting.weights) or "none"
        raise Misconfigured("model.toml", "weights", f"roles are {roles}", f'Give one file, with the role "{ROLE}"')
    bundle = declared.configuration(card, fitting.folder, fitting.device)
    made = steps.resolved(bundle, own_code=False)
    batch, own_code = card.preparation.batch, fitting.own_code
    network = network_of(fitting.weights[ROLE], card.architecture, device, own_code=own_code, batch=batch)
    return Bundle(fitting, Exact(replace(made, network=network), device), bundle)
