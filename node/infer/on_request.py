"""An outcome explained because somebody asks: read again from its files, in the process that asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from node.catalogue import Model
from node.config import InferSettings
from node.domain.explanation import Explanation
from node.domain.time import Clock
from node.errors import Failed
from node.imaging.explain import explainable_of
from node.imaging.explain.plan import Plan
from node.imaging.explain.study import Explanations, Wish, explain
from node.imaging.mask import read_mask
from node.imaging.pipelines import Given, Pulse, Reading, Runner
from node.imaging.saliency import Saliency
from node.infer.explaining import content_of
from node.infer.findings import written
from node.infer.given import given_of
from node.infer.ledger import is_that_of, job_of, made_of, stem_of
from node.infer.messages import MASK
from node.infer.model_child import start_of
from node.infer.serving import load
from node.store import artifacts, findings
from node.store.database import Database
from node.store.outcomes import Outcome
from node.workflow.reading import keep


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What came of it."""

    made: Explanations
    given: Given
    #: The file of each map, in their order; relative to the data folder.
    paths: tuple[str, ...]


def explain_outcome(
    db: Database,
    settings: InferSettings,
    model: Model,
    outcome: Outcome,
    explanation: Explanation,
    told: Callable[[Plan, str], bool],
    pulse: Pulse,
    clock: Clock,
) -> Explained:
    """Explain what a model found, and keep the maps with the outcome.

    Raises:
        Unsuitable, Failed, Misconfigured, Transient: the model, its input or the method is not to be had; says why.
    """
    if model.problem:
        raise Failed(model.problem)
    if not is_that_of(model, outcome):
        raise Failed(f"{outcome.model} has changed since it read the study; `matins force` reads it again")
    runner: Runner = load(start_of(model, settings, None, False))[0]
    # Whether it can be explained at all is known before anything is read.
    explainable = explainable_of(runner)
    given = given_of(job_of(db, outcome), model.card)
    reading = _reading(db, outcome, runner, given)
    found = tuple(findings.of_outcome(db, outcome.id))
    wish = Wish(card=model.card, explanation=explanation, findings=found, told=told)
    made = explain(explainable, given, reading, wish, pulse=pulse)
    return Explained(made=made, given=given, paths=tuple(_kept(db, outcome, each, clock) for each in made.maps))


def _reading(db: Database, outcome: Outcome, runner: Runner, given: Given) -> Reading:
    """What the model said: its mask as it was kept, else it reads again."""
    held = artifacts.of_outcome(db, outcome.id)
    mask = next((each for each in held if each.kind == MASK and not each.freed_at), None)
    if mask is None:
        return runner.run(given)
    return Reading(labels=read_mask(db.folder / mask.path).labels, timings={})


def _kept(db: Database, outcome: Outcome, found: Saliency, clock: Clock) -> str:
    stem = str(db.folder / stem_of(outcome))
    file = made_of(db, stem, written(stem, content_of(found)))
    with db.transaction():
        keep(db, clock.now(), outcome.id, file)
    return file.path
