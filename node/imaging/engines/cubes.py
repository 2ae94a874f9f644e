"""Engines for networks that see one cube each: those that work together are all run with the same one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from node.domain.engine import PLAIN, EngineEvidence
from node.domain.model_card import EngineChoice
from node.imaging.bundle.plan import Plan, Window
from node.imaging.engines import Way, named
from node.imaging.engines.cases import read_case
from node.imaging.engines.choice import choose, standing
from node.imaging.engines.measuring import Progress, Subject, measure
from node.imaging.engines.windows import Forward
from node.imaging.pipelines import Fitting
from node.imaging.volume import Volume

#: Reads a volume with these networks: labels on its grid, and the seconds of the networks.
Read = Callable[[Volume, Mapping[str, Forward]], tuple[NDArray[np.uint8], float]]


def chosen(
    fitting: Fitting, networks: Mapping[str, torch.nn.Module], sides: Mapping[str, int]
) -> tuple[Mapping[str, Forward], tuple[str, ...]]:
    """Return what runs the networks here, by role, and what a reader is told of it; without evidence themselves.

    `sides`: voxels along each side of the cube that a network sees, by role.
    """
    evidence = standing(fitting)
    if evidence is None or fitting.card.engine is EngineChoice.EXACT or evidence.choice.engine == PLAIN:
        return networks, ()
    found: dict[str, Way] = {}
    told: tuple[str, ...] = ()
    for role, network in networks.items():
        found[role], told = choose(fitting, _plan(sides[role]), network)
        if found[role].name == PLAIN:
            return networks, told
    return {role: way.forward for role, way in found.items()}, told


def measured(
    fitting: Fitting,
    networks: Mapping[str, torch.nn.Module],
    sides: Mapping[str, int],
    read: Read,
    cases: Sequence[Path],
    measured_at: datetime,
    progress: Progress,
) -> EngineEvidence:
    """Try every engine on validation cases (see `node.imaging.engines.measuring`).

    Raises:
        Failed: there are no cases, or single precision cannot read one.
    """
    device = torch.device(fitting.device)
    *first, last = networks
    built: dict[str, dict[str, Forward]] = {}

    def read_with(way: Way, case: int) -> tuple[NDArray[np.uint8], float]:
        if way.name not in built:
            others = {role: named(way.name).build(networks[role], _plan(sides[role]), device) for role in first}
            built.clear()
            built[way.name] = {role: other.forward for role, other in others.items()} | {last: way.forward}
        return read(read_case(cases[case])[0], built[way.name])

    subject = Subject(model_digest=fitting.model_digest, network=networks[last], plan=_plan(sides[last]), device=device)
    return measure(subject, len(cases), read_with, measured_at, progress)


def _plan(side: int) -> Plan:
    return Plan(window=Window(roi=(side,) * 3, overlap=(0.0,) * 3))
