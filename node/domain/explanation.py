"""How a model's answer is explained, and what that may cost."""

from __future__ import annotations

from dataclasses import dataclass

_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is explained with every study; anything else is asked for with `matins explain`."""

    __pydantic_config__ = _FORBID

    #: Names of modules of `node/imaging/explain/methods`, dashes for underscores.
    methods: tuple[str, ...] = ()
    #: Dotted name of the layer that Grad-CAM looks at; empty takes what the last convolution becomes.
    layer: str = ""
    #: Seconds that explaining one study may take; what does not fit is left out, and that is said.
    budget_s: float = 30.0
