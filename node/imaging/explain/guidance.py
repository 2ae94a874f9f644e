"""Guided gradients: they flow back through a rectifier only where it let something pass, and only upwards.

Springenberg et al., "Striving for Simplicity: The All Convolutional Net" (ICLR 2015, workshop). Captum guides modules
of the class `torch.nn.ReLU` and leaves every other rectifier as it is, without a word; here each is found as it is
called, whether as a module or as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

#: Functions that stop what is negative, and how they are called: whatever else they do, their own gradient says.
_RECTIFIERS = frozenset(
    (
        *(functional.relu, torch.relu, torch.Tensor.relu, functional.relu6),
        *(functional.leaky_relu, functional.rrelu, functional.prelu, torch.prelu, torch.Tensor.prelu),
        *(torch.relu_, torch.Tensor.relu_, functional.leaky_relu_, functional.rrelu_, torch.rrelu, torch.rrelu_),
    )
)
#: A rectifier where they start at 0, as the module `torch.nn.ReLU6` has it.
_CLAMPS = frozenset((functional.hardtanh, functional.hardtanh_))


class Guidance(TorchFunctionMode):
    """While it is entered, gradients of what is computed are guided."""

    def __init__(self) -> None:
        super().__init__()
        #: How often a rectifier was called.
        self.rectifiers = 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function; behind a rectifier, hold back what is negative on the way back."""
        made = function(*args, **(kwargs or {}))
        if function in _RECTIFIERS or (function in _CLAMPS and _least(args, kwargs or {}) == 0):
            self.rectifiers += 1
            if isinstance(made, torch.Tensor) and made.requires_grad:
                made.register_hook(_upwards)  # type: ignore[no-untyped-call]
        return made


@contextmanager
def guided() -> Iterator[Guidance]:
    """Inside, gradients are guided; what is found there must be asked for there too."""
    with Guidance() as guidance:
        yield guidance


def _upwards(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.clamp(min=0)


def _least(args: Sequence[Any], kwargs: Mapping[str, Any]) -> float:
    """The lower limit of a call of `hardtanh`."""
    return float(kwargs.get("min_val", args[1] if len(args) > 1 else -1.0))
