"""What a classifier or detector looks for, and when it counts as seen."""

from __future__ import annotations

from dataclasses import dataclass

from node.domain.finding import Code

_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Platt scaling of a logit z: probability = 1 / (1 + exp(-(z / temperature + bias))), and where it comes from."""

    __pydantic_config__ = _FORBID

    temperature: float
    bias: float = 0.0
    #: Cases, day (ISO 8601) and place of the fit: without them nobody can judge it.
    cases: int
    fitted_on: str
    fitted_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One output of a classifier or detector. Its number is a probability only where it is calibrated, else a score."""

    __pydantic_config__ = _FORBID

    #: Channel of the output (classification) or label (detection).
    index: int
    label: str
    code: Code
    site: Code | None = None
    #: The number, 0–1, from which it counts as present; `None`: the model does not decide.
    operating_point: float | None = None
    calibration: Calibration | None = None
