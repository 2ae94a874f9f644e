"""The `[preparation]` and `[architecture]` tables of a card, checked for what types alone cannot see."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

from node.catalogue.bundle import components
from node.domain.model_card import ModelCard
from node.domain.preparation import Values
from node.errors import Misconfigured

_PAIRS = ("LR", "PA", "IS")
_ACTIVATIONS = ("softmax", "sigmoid", "none")
_BLENDS = ("gaussian", "constant")
_NETWORKS = ("monai.networks.nets.", "torch.nn.")


def check_preparation(card: ModelCard, complaint: Callable[[str, str, str], Misconfigured]) -> None:
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
    if not 0 < said.threshold < 1:
        raise wrong("threshold", f"is {said.threshold}", "Give a share between 0 and 1")
    if card.architecture is not None:
        full = components.resolved(card.architecture.name) or ""
        if not full.startswith(_NETWORKS):
            problem = f'"{card.architecture.name}" is no network of MONAI'
            raise complaint("architecture.name", problem, "Name one of monai.networks.nets, such as UNet")
