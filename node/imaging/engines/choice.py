"""Which engine a model is run with: the fastest that was seen to give what single precision gives."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import torch

import node
from node.domain.engine import PLAIN, EngineEvidence
from node.domain.model_card import EngineChoice
from node.errors import Failed, first_line
from node.imaging.bundle.plan import Plan
from node.imaging.device import is_lost, wait_for
from node.imaging.engines import Engine, Way, named, names
from node.imaging.engines.layers import example_of
from node.imaging.pipelines import Fitting
from node.store import engine_evidence

#: What building an engine may raise where a network is not made for it.
BUILD_ERRORS = (RuntimeError, TypeError, ValueError, NotImplementedError, ImportError)
#: A graph is recorded over the second ones.
_FIRST_WINDOWS = 2
_PACKAGES = ("torch", "monai", "openvino")
_CPU_NAMES = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What evidence has to be about to count."""

    device_name: str
    threads: int
    versions: dict[str, str]


def here(device: torch.device) -> Here:
    """Return what this process would measure on."""
    versions = {"matins": node.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return Here(device_name=name, threads=torch.get_num_threads(), versions=versions)


def choose(fitting: Fitting, plan: Plan, network: torch.nn.Module) -> tuple[Way, tuple[str, ...]]:
    """Return the way to run `network`, and what a reader is told of it where it is not the plain one.

    Without evidence, or with the card's engine "exact", it is single precision with the bundle's own windows. With
    little memory it is, of what passed, that which held least.
    """
    device = torch.device(fitting.device)
    plain = named(PLAIN).build(network, plan, device)
    evidence = standing(fitting)
    if fitting.frugal:
        plain = replace(plain, batch=1)
    if evidence is None or fitting.card.engine is EngineChoice.EXACT:
        return plain, ()
    trial = evidence.choice
    if fitting.frugal:
        trial = min((each for each in evidence.trials if each.may_be_used), key=lambda each: each.peak_bytes)
    if trial.engine == PLAIN:
        return replace(plain, batch=1 if fitting.frugal else trial.batch), ()
    if trial.engine not in names() or named(trial.engine).available(device):
        return plain, (f"the engine {trial.engine} is not here any more: single precision",)
    try:
        way = built(named(trial.engine), network, plan, device)
    except (Failed, *BUILD_ERRORS) as error:
        if is_lost(error):
            raise
        return plain, (f"the engine {trial.engine} could not be built ({first_line(error)}): single precision",)
    worst = min(trial.dice.values(), default=1.0)
    verified = f"Dice with single precision at least {worst:.4f} on {evidence.cases} validation case(s)"
    return replace(way, batch=trial.batch), (f"computed with {way.sentence}: {verified}",)


def standing(fitting: Fitting) -> EngineEvidence | None:
    """Return what was measured of this model, if it still holds here; else `None`."""
    if fitting.evidence is None or not fitting.model_digest:
        return None
    found = engine_evidence.read(fitting.evidence, fitting.model_digest, fitting.device)
    if found is None:
        return None
    now = here(torch.device(fitting.device))
    threads = found.threads if fitting.frugal else now.threads
    return found if found.holds(fitting.model_digest, now.device_name, threads, now.versions) else None


def built(engine: Engine, network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
    """Build a way; what compiles or records itself over its first windows does so now, not while a study waits."""
    way = engine.build(network, plan, device)
    if way.fixed and plan.window.roi and min(plan.window.roi) > 0:
        with torch.inference_mode():
            example = example_of(network, plan.window, way.batch)
            for _ in range(_FIRST_WINDOWS):
                way.forward(example)
        wait_for(device)
    return way


def _cpu_name() -> str:
    try:
        lines = _CPU_NAMES.read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
