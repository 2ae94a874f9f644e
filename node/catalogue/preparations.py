"""The `[preparation]` and `[architecture]` tables of a card, checked for what types alone cannot see."""

from __future__ import annotations

from math import isfinite

from node.catalogue.bundle import components
from node.catalogue.singles import PIPELINE
from node.catalogue.toml_file import Complaint
from node.domain.colour import Colour
from node.domain.model_card import ModelCard, Task
from node.domain.preparation import MAGNIFIED, Crop, Values
from node.errors import Misconfigured

_PAIRS = ("LR", "PA", "IS")
_ACTIVATIONS = ("softmax", "sigmoid", "none")
_BLENDS = ("gaussian", "constant")
_NETWORKS = ("monai.networks.nets.", "torch.nn.", "node.imaging.networks.")


def check_preparation(card: ModelCard, complaint: Complaint) -> None:
    """Check both tables.

    Raises:
        Misconfigured: the first value that cannot be followed.
    """
    said = card.preparation

    def wrong(key: str, problem: str, remedy: str) -> Misconfigured:
        return complaint(f"preparation.{key}", problem, remedy)

    if len(said.axes) != 3 or any(len(set(pair) & set(said.axes)) != 1 for pair in _PAIRS):
        raise wrong("axes", f'"{said.axes}" names no three axes', 'Write, for example, "RAS"')
    if said.spacing_mm and not (len(said.spacing_mm) == 3 and all(0 < each < 100 for each in said.spacing_mm)):
        raise wrong("spacing_mm", "is not three distances", "Give three numbers in mm, in the order of `axes`")
    window = said.window
    if (said.values is Values.WINDOW) != bool(window):
        raise wrong("window", f'does not go with values = "{said.values}"', 'values = "window" has it, and needs it')
    if window and not (len(window) == 2 and all(map(isfinite, window)) and window[0] < window[1]):
        raise wrong("window", "is not a range", "Give the lowest and the highest value")
    if said.patch and not (len(said.patch) == 3 and all(0 < each <= 4096 for each in said.patch)):
        raise wrong("patch", "is not three sizes", "Give three numbers of voxels, in the order of `axes`")
    if not 0 <= said.overlap < 1:
        raise wrong("overlap", f"is {said.overlap}", "Give a share, 0 or more and less than 1")
    if said.blend not in _BLENDS:
        raise wrong("blend", f'is "{said.blend}"', f"Choose one of {', '.join(_BLENDS)}")
    if said.batch < 1:
        raise wrong("batch", f"is {said.batch}", "Give 1 or more")
    if said.activation not in _ACTIVATIONS:
        raise wrong("activation", f'is "{said.activation}"', f"Choose one of {', '.join(_ACTIVATIONS)}")
    if len(set(said.flips)) < len(said.flips) or not set(said.flips) <= set(range(2 + card.needs_volume)):
        raise wrong("flips", f"are {list(said.flips)}", "Give some of 0, 1 and, of volumes, 2, each once")
    if said.views and card.task is not Task.CLASSIFICATION:
        raise wrong("views", f"go with no {card.task}", 'Remove them: task = "classification" has them')
    if not all(0 < share <= 1 and MAGNIFIED[0] <= times <= MAGNIFIED[1] for share, times in said.views):
        remedy = f"Give [share of the sides, at most 1; magnification, {MAGNIFIED[0]:g} to {MAGNIFIED[1]:g}] for each"
        raise wrong("views", f"are {[list(view) for view in said.views]}", remedy)
    if not 0 < said.threshold < 1:
        raise wrong("threshold", f"is {said.threshold}", "Give a share between 0 and 1")
    if said.crop is not Crop.NONE and card.task is Task.DETECTION:
        raise wrong("crop", "goes with no detection", "Remove it: boxes are told where they lie in the whole image")
    if card.pipeline == PIPELINE:
        _check_fit(card, wrong)
    _check_architectures(card, complaint)


def _check_architectures(card: ModelCard, complaint: Complaint) -> None:
    """Check that each network is one of those that may be made: a card is no way to call whatever is installed."""
    named = {"architecture": card.architecture}
    for number, weights in enumerate(card.weights):
        named[f"weights[{number}].architecture"] = weights.architecture
        if weights.architecture is not None and card.pipeline != PIPELINE:
            remedy = f'Remove it, or write pipeline = "{PIPELINE}"'
            raise complaint(f"weights[{number}].architecture", f'goes with no pipeline "{card.pipeline}"', remedy)
    for key, architecture in named.items():
        if architecture is None:
            continue
        if not (components.resolved(architecture.name) or "").startswith(_NETWORKS):
            problem = f'"{architecture.name}" is no network of MONAI nor of ours'
            raise complaint(f"{key}.name", problem, "Name one of monai.networks.nets, such as UNet")


def _check_fit(card: ModelCard, wrong: Complaint) -> None:
    """Check what a classifier alone may say, and what images and volumes may."""
    said, numbers = card.preparation, 2 + card.needs_volume
    if card.task is not Task.CLASSIFICATION:
        for key in ("size", "mean", "deviation"):
            if getattr(said, key):
                raise wrong(key, f"goes with no {card.task}", 'Remove it: task = "classification" has it')
    elif said.patch:
        raise wrong("patch", "goes with no classification", "Give the `size` that it sees at once")
    elif card.exclusive and said.activation == "sigmoid":
        problem = "is a number for each, and the targets exclude each other"
        raise wrong("activation", problem, 'Write "softmax", or leave `exclusive` out')
    if said.size and not (len(said.size) == numbers and all(0 < each <= 4096 for each in said.size)):
        raise wrong("size", f"is not {numbers} sizes", "Give (row, column) of images, (axis, axis, axis) of volumes")
    channels = max(1, len(card.roles)) if card.needs_volume else said.channels
    for key, values in (("mean", said.mean), ("deviation", said.deviation)):
        if len(values) not in ({0, 1, channels} if said.mean else {0}) or not all(map(isfinite, values)):
            raise wrong(key, "is not one number, nor one a channel", f"Give 1 or {channels}, with mean and deviation")
    if len(said.mean) != len(said.deviation) or any(each <= 0 for each in said.deviation):
        raise wrong("deviation", "does not go with the mean", "Give as many as means, each more than 0")
    wanted = (1,) if card.needs_volume else (3,) if card.colour is Colour.RGB else (1, 3)
    if said.channels not in wanted:
        problem = f'is {said.channels}, and images come with colour = "{card.colour}"'
        if card.needs_volume:
            problem = f"is {said.channels}: those of volumes are their `[[roles]]`"
        raise wrong("channels", problem, f"Give {' or '.join(map(str, wanted))}")
    if said.spacing_mm and not card.needs_volume:
        raise wrong("spacing_mm", "goes with no single images", "Give their `size`")
