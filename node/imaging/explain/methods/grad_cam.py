"""Grad-CAM: the channels of a late layer, weighted by how much the answer follows each (Selvaraju et al., 2017).

One forward and a part of a backward.
"""

from __future__ import annotations

import torch
from captum.attr import LayerAttribution, LayerGradCam

from node.errors import Unsuitable
from node.imaging.explain.subject import Subject, laid_open

GRADIENTS = True
LAYER, BASELINE = True, False
USUAL = FEWEST = 1


def forwards(samples: int) -> float:
    """The forward, and a backward that costs as much at most."""
    return 2.0 * samples


def explain(subject: Subject, samples: int, seed: int) -> torch.Tensor:  # noqa: ARG001
    """See `Method`. Coarse: as many cells as the layer has, smoothly enlarged."""
    return located(subject)


def located(subject: Subject, *, positive: bool = False) -> torch.Tensor:
    """The map of the subject's layer, enlarged to the input's spatial axes; with `positive` without what is negative.

    Raises:
        Unsuitable: the layer has no place any more.
    """
    question = subject.question
    with laid_open(question.network), question.meter.undisturbed(), torch.enable_grad():
        found = LayerGradCam(question, subject.module).attribute(subject.inputs, relu_attributions=positive)
    found = found.detach()
    if found.ndim != subject.inputs.ndim or found[0, 0].numel() < 2:
        raise Unsuitable(f"the layer {subject.layer} does not say where: name another as explanation.layer")
    mode = "bilinear" if len(subject.spatial) == 2 else "trilinear"
    enlarged: torch.Tensor = LayerAttribution.interpolate(found, subject.spatial, mode)[0, 0]
    return enlarged
