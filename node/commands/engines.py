"""`models measure`, and what `check` says of engines: which one a model runs with, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from node.catalogue import Model
from node.commands.check import Check
from node.commands.output import print_json, say, table
from node.config import Settings
from node.domain.engine import PLAIN, EngineEvidence, Trial
from node.errors import Failed
from node.store import engine_evidence
from node.workflow.policy import models_of

_DEVICES = ("cpu", "cuda")
_MIB = 2**20


def measure(settings: Settings, name: str, *, again: bool, as_json: bool) -> None:
    """Try every engine on a model's validation cases, keep the evidence and print it.

    Raises:
        Failed, Misconfigured: there is no such model, it may not run, or it has no cases.
    """
    from node.infer.measuring import measured

    model = _model(settings, name)
    folder = settings.data.folder / engine_evidence.FOLDER

    def told(engine: str, done: int, total: int) -> None:
        if not as_json:
            say(f"{done + 1} of {total}: {engine}")

    evidence, fresh = measured(model, settings.infer, folder, datetime.now(UTC), told, again=again)
    if as_json:
        print_json(asdict(evidence))
        return
    if not fresh:
        say(f"measured on {evidence.measured_at}; `--again` measures anew")
    shown = ("engine", "dtype", "windows", "s", "MiB", "least Dice", "not used because")
    table(shown, [_row(each) for each in evidence.trials])
    say(f"{name} runs with {summary(evidence)}")


def engines(settings: Settings, model: Model) -> Iterator[Check]:
    """Say which engine a model runs with; warn where it has cases that were never measured."""
    if not model.card.has_engines or not model.model_digest:
        return
    name = model.card.name
    folder = settings.data.folder / engine_evidence.FOLDER
    found = [engine_evidence.read(folder, model.model_digest, device) for device in _DEVICES]
    standing = [each for each in found if each is not None]
    for each in standing:
        yield Check(about="engine", subject=name, ok=True, found=summary(each))
    if model.card.validation and not standing and model.runs:
        problem = "its engines were not measured: it runs in single precision"
        remedy = f"Run `matins models measure {name}`"
        yield Check(
            about="engine", subject=name, ok=True, found=PLAIN, file=str(model.folder / "model.toml"),
            key="validation", problem=problem, remedy=remedy,
        )  # fmt: skip


def summary(evidence: EngineEvidence) -> str:
    """Say in one line what was chosen, and on what evidence."""
    chosen = evidence.choice
    plain = next((each for each in evidence.trials if each.engine == PLAIN and not each.problem), None)
    faster = f"{plain.seconds / chosen.seconds:.1f} × as fast as {PLAIN}; " if plain and chosen.seconds else ""
    worst = min(chosen.dice.values(), default=1.0)
    versions = ", ".join(f"{package} {version}" for package, version in evidence.versions.items())
    return (
        f"{chosen.engine} on {evidence.device}: {faster}Dice at least {worst:.4f} on {evidence.cases} case(s);"
        f" {evidence.device_name}, {evidence.threads} threads, {versions}; {evidence.measured_at}"
    )


def _row(trial: Trial) -> list[str]:
    if not trial.dtype:
        return [trial.engine, "", "", "", "", "", trial.problem]
    worst = f"{min(trial.dice.values()):.5f}" if trial.dice else ""
    held = f"{trial.peak_bytes / _MIB:.0f}"
    return [trial.engine, trial.dtype, str(trial.batch), f"{trial.seconds:.2f}", held, worst, trial.problem]


def _model(settings: Settings, name: str) -> Model:
    models, problems = models_of(settings)
    model = next((each for each in models if each.card.name == name), None)
    if model is None:
        wrong = next((problem for problem in problems if name in str(problem.file)), None)
        raise wrong or Failed(f"there is no model {name}: see `matins models list`")
    if model.problem:
        raise Failed(model.problem)
    return model
