"""Outputs: one module an output, found by listing this folder.

Each declares `KIND`, its own module name; `SHOWN_AS`, the class that a viewer must show (`config.peer.Shown`); `SCOPE`,
"model" for one a model and "study" for one of all models on a study; `FALLBACKS`, kinds that may take its place where a
destination does not store it (any of the peer's `fallback` where empty); `NEEDS`, the kinds that it refers to, built
before it; `unfit(evidence)`, why this evidence cannot be written so; and `build(evidence, built)`, which returns a new
dataset: the same evidence, the same bytes.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from typing import Protocol, cast

from pydicom import Dataset

from node.report.evidence import Evidence


class Output(Protocol):
    """What a module of this folder offers."""

    KIND: str
    NEEDS: tuple[str, ...]
    SHOWN_AS: str
    SCOPE: str
    FALLBACKS: tuple[str, ...]

    def unfit(self, evidence: Evidence) -> str:
        """Why this evidence has nothing to be written as this output; empty where it has."""
        ...

    def build(self, evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:
        """Return the dataset with its file meta information. `built` holds what `NEEDS` names.

        Raises:
            Failed: the evidence cannot be written as this output.
        """
        ...


def outputs() -> dict[str, Output]:
    """Every output by its kind."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [cast(Output, importlib.import_module(f"{__name__}.{name}")) for name in names]
    return {module.KIND: module for module in modules}


def in_order(kinds: Iterable[str], available: Mapping[str, Output]) -> list[str]:
    """`kinds` and all that they refer to, each after what it needs; the same order every time.

    Raises:
        KeyError: no output has that kind.
    """
    graph: dict[str, tuple[str, ...]] = {}
    waiting = sorted(kinds)
    while waiting:
        kind = waiting.pop()
        if kind not in graph:
            graph[kind] = available[kind].NEEDS
            waiting.extend(graph[kind])
    return list(TopologicalSorter(dict(sorted(graph.items()))).static_order())
