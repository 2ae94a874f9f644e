"""Which bundles are read as their plan says instead of step by step."""

from __future__ import annotations

import torch

from node.domain.model_card import EngineChoice, Task
from node.errors import first_line
from node.imaging.bundle.configuration import Configuration
from node.imaging.bundle.plan import NotUnderstood, plan_of
from node.imaging.device import is_lost
from node.imaging.engines.choice import BUILD_ERRORS
from node.imaging.engines.planned import Planned
from node.imaging.pipelines import Fitting


def planned(
    fitting: Fitting, bundle: Configuration, network: torch.nn.Module
) -> tuple[Planned | None, tuple[str, ...]]:
    """Return the faster way to the same labels, `None` where the bundle's own steps are taken, and what is told of it.

    That is where the card asks for them, where they are no plan, and where the network cannot be copied for an engine;
    the last is told, since nobody expects it.
    """
    if fitting.card.engine is EngineChoice.EXACT or fitting.card.task is not Task.SEGMENTATION:
        return None, ()
    try:
        plan = plan_of(bundle.content)
        shape = bundle.described("inputs").get("spatial_shape")
        if isinstance(shape, list) and len(shape) == 2 and plan.window.slice_axis is None:
            return None, ()  # it sees pictures, not volumes
        return Planned(fitting, plan, network), ()
    except NotUnderstood:
        return None, ()
    except BUILD_ERRORS as error:
        if is_lost(error):
            raise
        return None, (f"read with the bundle's own steps: the faster way could not be built ({first_line(error)})",)
