"""Guided gradients: they flow back through a rectifier only where it let something pass, and only upwards.

Springenberg et al., "Striving for Simplicity: The All Convolutional Net" (ICLR 2015, workshop). Captum guides modules
of the class `torch.nn.ReLU` and leaves every other rectifier as it is, without a word; here the functions are guided
that those and the other modules call. Through a leak goes what is positive, times the leak's slope. What a script or
another library computes shows no calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from node.errors import Unsuitable

#: Functions that stop what is negative, or damp it.
_RECTIFIERS = frozenset(
    (
        *(functional.relu, torch.relu, torch.Tensor.relu, functional.relu6),
        *(functional.leaky_relu, functional.rrelu, functional.prelu, torch.prelu, torch.Tensor.prelu),
        *(torch.relu_, torch.Tensor.relu_, functional.leaky_relu_, functional.rrelu_, torch.rrelu, torch.rrelu_),
    )
)


def _is_hardtanh_from_zero(_values: object, min_val: float = -1.0, *_: object, **__: object) -> bool:
    """As the module `torch.nn.ReLU6` calls it."""
    return min_val == 0


def _is_threshold_of_zero(_values: object, threshold: float, value: float, *_: object, **__: object) -> bool:
    return threshold == value == 0


def _is_clamp_from_zero(_values: object, min: object = None, max: object = None, **_: object) -> bool:  # noqa: A002
    """Up to any value: what is cut off above too is mostly an input."""
    return max is None and isinstance(min, int | float) and min == 0


#: Functions that are rectifiers where they are called so.
_PERHAPS: dict[Callable[..., Any], Callable[..., bool]] = {
    **dict.fromkeys((functional.hardtanh, functional.hardtanh_), _is_hardtanh_from_zero),
    **dict.fromkeys((functional.threshold, torch.threshold_), _is_threshold_of_zero),
    **dict.fromkeys((torch.clamp, torch.clamp_, torch.clamp_min, torch.clamp_min_), _is_clamp_from_zero),
    **dict.fromkeys((torch.Tensor.clamp, torch.Tensor.clamp_), _is_clamp_from_zero),
    **dict.fromkeys((torch.Tensor.clamp_min, torch.Tensor.clamp_min_), _is_clamp_from_zero),
}


class Guidance(TorchFunctionMode):
    """What is computed while it is entered has guided gradients."""

    def __init__(self) -> None:
        super().__init__()
        #: How often a rectifier was called that gradients flow back through.
        self.rectifiers = 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function; behind a rectifier, hold back what is negative on the way back.

        Raises:
            Unsuitable: it writes into a part of an array, behind whose back nothing can be held.
        """
        named = kwargs or {}
        made = function(*args, **named)
        rectifies = function in _RECTIFIERS or (function in _PERHAPS and _PERHAPS[function](*args, **named))
        if rectifies and made.requires_grad:
            if made is args[0] and made._is_view():
                raise Unsuitable("an activation overwrites a part of an array: gradients cannot be guided through it")
            self.rectifiers += 1
            made.register_hook(_upwards)
        return made


def _upwards(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.clamp(min=0)
