"""Whether what was exported answers as what was trained: the same cases, read by both."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from node.catalogue.cards import CARD, read_card
from node.catalogue.weights import locate_all
from node.domain.model_card import ModelCard, Task
from node.errors import Failed
from node.imaging import pipelines
from node.imaging.averaged import Averaged
from node.imaging.bundle.network import fill
from node.imaging.formats import built
from node.imaging.images import Image
from node.imaging.pipelines import Fitting, Given, Reading
from node.learn.case import Pixels
from node.learn.export import detection
from node.learn.export.trained import Trained
from node.learn.export.weights import write_weights
from node.learn.preparing import preparer, shown

#: Least Dice of each label over all cases together.
LEAST_DICE = 0.999
#: Largest difference of a share, 0 to 1.
MOST_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Sameness:
    """How far the answers of both lie apart."""

    cases: int
    #: Segmentation: least Dice of a label; `None` of a classifier, or where no label is in any answer.
    dice: float | None = None
    #: Classification: largest difference of a share.
    share: float | None = None

    @property
    def said(self) -> str:
        """In words."""
        if self.dice is not None:
            return f"Dice of {self.dice:.5f} or more with the trained network on {self.cases} cases"
        if self.share is not None:
            return f"shares within {self.share:.5f} of the trained network's on {self.cases} cases"
        return "not compared: no case was given" if not self.cases else f"no label in {self.cases} cases, in either"


def compare(folder: Path, trained: Trained) -> Sameness:
    """Read the cases with the model in `folder`, as the node does, and with the trained networks.

    Raises:
        Failed: the answers are not the same, or the model cannot be run.
    """
    card = read_card(folder)
    if not trained.cases:
        return Sameness(cases=0)
    weights = locate_all(card, folder, folder / CARD)
    if card.task is Task.DETECTION:
        found = _boxes(folder, trained, card)
        if found.share is not None and found.share > MOST_SHARE:
            raise Failed(f"the exported model is another one: a score is {found.share:.4f} off what was trained")
        return found
    # Of an ensemble the members are put together as training did it.
    alike = replace(card, uncertainty=None)
    fitting = Fitting(card=alike, folder=folder, weights=weights, device="cpu")
    runner = pipelines.named(card.pipeline).load(fitting)
    readings = [runner.run(_given(each, card)) for each in trained.cases]
    found = _shares(card, trained, readings) if card.task is Task.CLASSIFICATION else _dice(fitting, trained, readings)
    if found.dice is not None and found.dice < LEAST_DICE:
        raise Failed(f"the exported model is another one: a label has a Dice of {found.dice:.5f} with what was trained")
    if found.share is not None and found.share > MOST_SHARE:
        raise Failed(f"the exported model is another one: a share is {found.share:.4f} off what was trained")
    return found


def _boxes(folder: Path, trained: Trained, card: ModelCard) -> Sameness:
    """A detector, by the same steps with the weights in single precision."""
    with tempfile.TemporaryDirectory(prefix="matins-") as kept:
        whole = Path(kept) / "whole.safetensors"
        write_weights(trained.members[0].weights, whole, half=False)
        apart = detection.apart(folder, trained, {card.weights[0].role: whole})
    return Sameness(cases=len(trained.cases), share=apart)


def _given(pixels: Pixels, card: ModelCard) -> Given:
    if pixels.volume is not None:
        return Given(volumes={"": pixels.volume})
    assert pixels.image is not None
    return Given(images=(Image(array=shown(pixels.image, card.colour), sop_instance_uid="1"),))


def _shares(card: ModelCard, trained: Trained, readings: list[Reading]) -> Sameness:
    """A classifier, by the very steps of its training."""
    networks = []
    for weights, member in zip(card.weights, trained.members, strict=True):
        architecture = card.architecture_of(weights.role)
        assert architecture is not None
        network = built(architecture).eval()
        fill(network, member.weights)
        networks.append(network)
    kind = card.preparation.activation
    averaged = Averaged(networks, kind, card.preparation.flips, card.preparation.views).eval()
    prepare = preparer(card.preparation, images=not card.needs_volume, colour=card.colour)
    apart = 0.0
    for pixels, reading in zip(trained.cases, readings, strict=True):
        with torch.no_grad():
            expected = averaged(prepare(pixels).image[None])[0].numpy()
        if reading.logits is None:
            raise Failed("the exported model gives no numbers")
        apart = max(apart, float(np.abs(_share(reading.logits[0], kind) - _share(expected, kind)).max()))
    return Sameness(cases=len(readings), share=apart)


def _share(logits: NDArray[np.float32], kind: str) -> NDArray[np.float64]:
    exact = logits.astype(np.float64)
    if kind == "softmax":
        powers = np.exp(exact - exact.max())
        return np.asarray(powers / powers.sum(), np.float64)
    return np.asarray(1 / (1 + np.exp(-exact)), np.float64)


def _dice(fitting: Fitting, trained: Trained, readings: list[Reading]) -> Sameness:
    """A segmentation, by the same steps with the weights in single precision."""
    with tempfile.TemporaryDirectory(prefix="matins-") as kept:
        whole = {}
        for (role, _), member in zip(fitting.weights.items(), trained.members, strict=True):
            whole[role] = Path(kept) / f"{role}.safetensors"
            write_weights(member.weights, whole[role], half=False)
        runner = pipelines.named(fitting.card.pipeline).load(replace(fitting, weights=whole))
        expected = [runner.run(_given(each, fitting.card)) for each in trained.cases]
    least: float | None = None
    for segment in fitting.card.segments:
        pairs = [
            (one.labels == segment.number, other.labels == segment.number)
            for one, other in zip(readings, expected, strict=True)
        ]
        sizes = sum(int(np.count_nonzero(one)) + int(np.count_nonzero(other)) for one, other in pairs)
        if sizes:
            dice = 2 * sum(int(np.count_nonzero(one & other)) for one, other in pairs) / sizes
            least = dice if least is None else min(least, dice)
    return Sameness(cases=len(readings), dice=least)
