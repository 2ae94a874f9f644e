"""What was measured of the ways to run a model on one device, and which one is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Least Dice, for every label that is there, with what single precision gives; below it an engine is not used.
LEAST_DICE = 0.999
#: The engine that every other is compared with, and that runs where nothing was measured: plain single precision.
PLAIN = "fp32"
#: The network's seconds for all that are answered in one pass, by what one took: during it nothing more urgent is
#: heard, and on a CPU what takes longer alone gains nothing from company.
PASS_S = 0.1

_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One engine on the model's validation cases."""

    __pydantic_config__ = _FORBID

    engine: str
    #: "float32" or "bfloat16"; empty where it could not be tried.
    dtype: str = ""
    #: Windows at once.
    batch: int = 1
    #: Of the network and the stitching, over all cases, the quicker of two runs.
    seconds: float = 0.0
    #: Largest memory held meanwhile: of the process on a CPU, of the device on a GPU.
    peak_bytes: int = 0
    #: Label → Dice with single precision, the worst of all cases that hold it.
    dice: Mapping[int, float] = field(default_factory=dict)
    #: Why it is not used; empty if it may be.
    problem: str = ""

    @property
    def may_be_used(self) -> bool:
        """Whether it was tried, and gave the labels of single precision."""
        return not self.problem and self.batch > 0 and all(each >= LEAST_DICE for each in self.dice.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEvidence:
    """All engines of one model on one device."""

    __pydantic_config__ = _FORBID

    model_digest: str
    #: What it is: "cpu" or "cuda", and the name of it.
    device: str
    device_name: str
    threads: int
    #: Of PyTorch, MONAI, OpenVINO and Matins, as far as they are there.
    versions: Mapping[str, str]
    #: UTC, ISO 8601.
    measured_at: str
    #: Validation cases.
    cases: int
    chosen: str
    trials: tuple[Trial, ...]

    def holds(self, model_digest: str, device_name: str, threads: int, versions: Mapping[str, str]) -> bool:
        """Whether it still says something of this model, here and with these versions."""
        here = (model_digest, device_name, threads, dict(versions))
        return here == (self.model_digest, self.device_name, self.threads, dict(self.versions))

    @property
    def is_sound(self) -> bool:
        """Whether what was chosen is what the figures say: one that was tried, and gave the labels it had to."""
        chosen = [each for each in self.trials if each.engine == self.chosen]
        return self.cases > 0 and len(chosen) == 1 and chosen[0].may_be_used

    @property
    def choice(self) -> Trial:
        """The trial of the chosen engine."""
        return next(each for each in self.trials if each.engine == self.chosen)
