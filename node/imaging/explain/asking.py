"""An answer of a reading as a question to the network, asked once: what it says now, and what a forward takes."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch

from node.errors import Unsuitable
from node.imaging.device import wait_for
from node.imaging.explain import Explainable, Prepared
from node.imaging.explain.meter import Meter
from node.imaging.explain.subject import Question, Subject, followed, last_convolution, logits_of
from node.imaging.explain.wanted import Answer

#: What stands for "nothing there" in every method that takes something away.
BASELINE = "the mean of each channel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question that was asked once."""

    subject: Subject
    prepared: Prepared
    baseline: str
    #: Seconds of one forward.
    forward_s: float
    model_digest: str = ""


def ask(
    explainable: Explainable, prepared: Prepared, answer: Answer, meter: Meter, layer: str, *, segments: bool
) -> Asked:
    """Ask the network once about what it is shown; of a segment, where it sees it stays frozen from now on.

    Raises:
        Unsuitable: it does not answer as the card says, or has no layer of that name.
    """
    inputs = prepared.inputs.detach().clone().float()
    began_s = meter.elapsed_s
    meter.passes(1)
    with torch.no_grad(), followed(explainable.network) as course:
        logits = logits_of(explainable.network(inputs))
    wait_for(logits.device)
    forward_s = meter.elapsed_s - began_s
    channel = explainable.channels.get(answer.number, answer.number)
    if not 0 <= channel < logits.shape[1]:
        raise Unsuitable(f"the network has {logits.shape[1]} outputs, none of them for number {answer.number}")
    region = None
    if segments:
        if logits.shape[2:] != inputs.shape[2:]:
            raise Unsuitable(f"the network answers on {tuple(logits.shape[2:])}, not on {tuple(inputs.shape[2:])}")
        alone = explainable.multi_label or logits.shape[1] == 1
        region = (logits[0, channel] > 0 if alone else logits[0].argmax(0) == channel).float()
        if not bool(region.any()):
            raise Unsuitable("the network does not see it in the part that is looked at")
    elif logits.ndim > 2:
        raise Unsuitable(f"the network answers with {tuple(logits.shape[1:])}, not with a number a target")
    late = (
        last_convolution(explainable.network, logits.shape[1]) if segments else course.late_layer(explainable.network)
    )
    named = layer or late
    if layer and layer not in dict(explainable.network.named_modules()):
        raise Unsuitable(f"the network has no layer {layer} (explanation.layer)")
    spatial = tuple(range(2, inputs.ndim))
    subject = Subject(
        question=Question(explainable.network, channel, region, meter),
        inputs=inputs,
        baseline=inputs.mean(spatial, keepdim=True).expand_as(inputs).contiguous(),
        layer=named,
    )
    return Asked(
        subject=subject,
        prepared=prepared,
        baseline=BASELINE,
        forward_s=forward_s,
        model_digest=explainable.model_digest,
    )


def differentiable(network: torch.nn.Module) -> torch.nn.Module:
    """The network without what its runner hung on it, sharing its weights.

    A copy of it where it was loaded in inference mode, so that no gradient can pass.
    """
    if not isinstance(network, torch.jit.ScriptModule):
        # A hook at the top is the runner's beat: in the midst of ours another study could pass, and no copy be made.
        network = copy.copy(network)
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            setattr(network, name, type(getattr(network, name))())
    tensors = [*network.parameters(), *network.buffers()]
    if not any(each.is_inference() for each in tensors):
        return network
    copied = copy.deepcopy(network)
    for module in copied.modules():
        for own in (module._parameters, module._buffers):
            for name, each in own.items():
                if each is not None and each.is_inference():
                    fresh = each.detach().clone()
                    own[name] = torch.nn.Parameter(fresh, False) if own is module._parameters else fresh  # type: ignore[assignment]
    return copied
