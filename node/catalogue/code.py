"""The code that a model brings: what it runs beside networks of its framework, and who has to vouch for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from node.catalogue.bundle import sections
from node.domain.model_card import ModelCard

#: The pipeline that runs a MONAI bundle, and its parameter that names another configuration.
BUNDLE = "bundle"
_CONFIGURATION = "configuration"
#: Files of `torch.export` and AOTInductor: expressions that are evaluated, or a library that is loaded.
_PROGRAM = ".pt2"
_SHOWN = 3


def runs(card: ModelCard, folder: Path) -> tuple[str, ...]:
    """Return what reading a study builds and evaluates by its bundle's configuration; nothing for other pipelines.

    Raises:
        Misconfigured: the configuration cannot be read.
    """
    return sections.runs(folder / sections.FOLDER, _configuration(card)) if card.pipeline == BUNDLE else ()


def needs(card: ModelCard, folder: Path) -> tuple[str, ...]:
    """Return what of the model is code that a person has to vouch for, a sentence each with the file.

    Raises:
        Misconfigured: the configuration cannot be read.
    """
    found = [
        f"{weights.source.partition(':')[2]}: is a program (torch.export or AOTInductor), not numbers"
        for weights in card.weights
        if weights.source.endswith(_PROGRAM)
    ]
    if card.pipeline == BUNDLE:
        found += sections.needs(folder / sections.FOLDER, _configuration(card))
    return tuple(found)


def refusal(name: str, needed: Sequence[str]) -> str:
    """Return why a model with such needs does not run, with the remedy; empty if it needs nothing."""
    if not needed:
        return ""
    more = f" and {len(needed) - _SHOWN} more" if len(needed) > _SHOWN else ""
    remedy = f"Read that code; if it may run here, run `matins models trust {name} --allow-code`"
    return f"{name} brings code of its own: {'; '.join(needed[:_SHOWN])}{more}. {remedy}"


def _configuration(card: ModelCard) -> str:
    return str(card.parameters.get(_CONFIGURATION, sections.INFERENCE))
