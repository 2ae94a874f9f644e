"""The engines of one model measured because somebody asks, in the process that asks."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from node.catalogue import Model
from node.config import InferSettings
from node.domain.engine import EngineEvidence
from node.errors import Failed
from node.imaging.engines.cases import case_files
from node.imaging.engines.choice import standing
from node.imaging.engines.measuring import CanBeMeasured, Progress
from node.imaging.pipelines import Fitting
from node.infer.model_child import start_of
from node.infer.serving import load
from node.store import engine_evidence


def measured(
    model: Model, settings: InferSettings, folder: Path, measured_at: datetime, progress: Progress, *, again: bool
) -> tuple[EngineEvidence, bool]:
    """Return the evidence on a model's engines, and whether it is new; what still holds is kept unless `again`.

    Raises:
        Failed: the model has no cases, only one way to compute, or cannot read the cases.
        Misconfigured: its files are not what they should be.
    """
    if model.card.is_mixed and not model.card.has_engines:
        raise Failed(f"{model.card.name} is an ensemble of several architectures, which runs in single precision alone")
    cases = case_files(model.folder, model.card.validation)
    if not cases:
        raise Failed(f"{model.card.name} has no validation cases: name their folder in its card (validation)")
    runner, _, device = load(start_of(model, settings, None, frugal=False))
    fitting = Fitting(
        card=model.card,
        folder=model.folder,
        weights=model.weights,
        device=device,
        model_digest=model.model_digest,
        evidence=folder,
    )
    known = standing(fitting)
    if known is not None and not again:
        return known, False
    if not isinstance(runner, CanBeMeasured):
        raise Failed(f"the pipeline {model.card.pipeline} has one way to compute alone")
    evidence = runner.measure(cases, measured_at, progress)
    engine_evidence.write(folder, evidence)
    return evidence, True
