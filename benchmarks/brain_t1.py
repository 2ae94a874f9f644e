"""The shipped brain model on a whole head, beside the bare calls of its two TorchScript files.

    .venv/bin/python benchmarks/brain_t1.py [--study FOLDER] [--rounds 5] [--write]

Interleaved in one process that is set up as a model's child is: the two files called directly on cubes of their sizes,
and the study read from its DICOM files to findings in source geometry, with the files themselves and with the engine
that is the fastest on the study as its validation case (`matins models measure`), where it gives the same labels. The
first study includes what the warm-up left.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from pydicom import dcmread  # noqa: E402

from node.catalogue import Model, load_models  # noqa: E402
from node.domain.engine import Trial  # noqa: E402
from node.domain.model_card import Mode  # noqa: E402
from node.domain.study import Instance  # noqa: E402
from node.imaging import pipelines  # noqa: E402
from node.imaging.engines.measuring import CanBeMeasured  # noqa: E402
from node.imaging.nifti import write  # noqa: E402
from node.imaging.pipelines import Fitting, Given, Runner  # noqa: E402
from node.imaging.volume import read_volume  # noqa: E402
from node.infer.findings import conclude  # noqa: E402
from node.infer.model_child import TUNABLES  # noqa: E402
from node.receive.fields import instance_of  # noqa: E402
from node.store import engine_evidence  # noqa: E402

_RESULTS = ROOT / "benchmarks" / "results" / "brain_t1.md"
_NETWORKS, _WHOLE = 1.05, 1.3
_STEPS = ("read_s", "prepare_s", "model_s", "finish_s", "conclude_s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, and say whether the bounds hold."""
    default = Path(os.environ.get("MATINS_TEST_DATA", ROOT.parent / "shared" / "data")) / "dicom" / "studyforrest_T1w"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=default, help="folder with one T1 MR series")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"keep the table in {_RESULTS.relative_to(ROOT)}")
    given = parser.parse_args(arguments)
    files = sorted(path for path in given.study.rglob("*") if path.suffix == ".dcm")
    if not files:
        parser.error(f"no *.dcm below {given.study}")
    models = ROOT / "models"
    loaded = load_models(models, [models / "models.lock"], {"brain-t1": Mode.LIVE})
    [model] = [each for each in loaded if each.card.name == "brain-t1"]
    found = measured(model, files, given.rounds)
    table, holds = render(found, len(files))
    print(table)
    if given.write:
        _RESULTS.write_text(f"# The brain model\n\n{table}\n", encoding="utf-8")
    return 0 if holds else 1


@dataclass
class Measured:
    """Seconds of the direct calls, of the steps of ours, and of those with the engine, round by round."""

    engine: Trial
    direct: list[float] = field(default_factory=list)
    plain: list[dict[str, float]] = field(default_factory=list)
    fast: list[dict[str, float]] = field(default_factory=list)


def measured(model: Model, files: Sequence[Path], rounds: int) -> Measured:
    """Measure, interleaved; the first round is no round."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    slices = [(path, instance_of(dcmread(path, stop_before_pixels=True), issuer="", has_pixels=True)) for path in files]
    fitting = Fitting(
        card=model.card, folder=model.folder, weights=model.weights, device="cpu", model_digest=model.model_digest
    )
    runner = pipelines.named(model.card.pipeline).load(fitting)
    runner.warm_up()
    assert isinstance(runner, CanBeMeasured)
    with tempfile.TemporaryDirectory(prefix="matins-") as kept:
        case, evidence = Path(kept) / "case.nii.gz", Path(kept) / "evidence"
        volume = read_volume(slices)
        write(volume.array, volume.grid, case)
        found = runner.measure([case], datetime.now(tz=UTC), _told)
        engine_evidence.write(evidence, found)
        fast = pipelines.named(model.card.pipeline).load(replace(fitting, evidence=evidence))
    fast.warm_up()
    bare = {role: torch.jit.load(path, map_location="cpu").eval() for role, path in model.weights.items()}
    cubes = {role: torch.rand((1, 1, *[int(model.card.parameters[f"{role}_size"])] * 3)) for role in bare}
    result = Measured(engine=found.choice)
    for number in range(rounds + 1):
        started = time.perf_counter()
        with torch.inference_mode():
            for role, network in bare.items():
                network(cubes[role])
        result.direct.append(time.perf_counter() - started)
        result.plain.append(_read(model, slices, runner))
        result.fast.append(_read(model, slices, fast))
        seconds = ", ".join(f"{sum(each[-1].values()):.2f} s" for each in (result.plain, result.fast))
        print(f"round {number} of {rounds}: {result.direct[-1]:.2f} s, {seconds}", file=sys.stderr)
    for each in (result.direct, result.plain, result.fast):
        del each[0]
    return result


def _read(model: Model, slices: Sequence[tuple[Path, Instance]], runner: Runner) -> dict[str, float]:
    """Seconds of each step from files to findings."""
    started = time.perf_counter()
    study = Given(volumes={"": read_volume(slices)}, instances=tuple(each for _, each in slices))
    read_s = time.perf_counter() - started
    reading = runner.run(study)
    began = time.perf_counter()
    for content in conclude(model.card, study, reading, runner).files:
        content.encode()
    return {"read_s": read_s, **reading.timings, "conclude_s": time.perf_counter() - began}


def _told(engine: str, done: int, of: int) -> None:
    print(f"engine {done + 1} of {of}: {engine}", file=sys.stderr)


def render(found: Measured, count: int) -> tuple[str, bool]:
    """Return the table, and whether both bounds hold."""
    bare = statistics.median(found.direct)
    rows = [f"| the two files called directly | {bare:.2f} | 1.00 | | |"]
    for step in _STEPS:
        plain, fast = (statistics.median(each[step] for each in seconds) for seconds in (found.plain, found.fast))
        rows.append(
            f"| {step.removesuffix('_s')} | {plain:.2f} | {plain / bare:.2f} | {fast:.2f} | {fast / bare:.2f} |"
        )
    ratios = []
    for seconds in (found.plain, found.fast):
        pairs = list(zip(seconds, found.direct, strict=True))
        networks = statistics.median(each["model_s"] / other for each, other in pairs)
        ratios.append((networks, statistics.median(sum(each.values()) / other for each, other in pairs)))
    rows.append(f"| **all of it** | | {ratios[0][1]:.2f} | | {ratios[1][1]:.2f} |")
    holds = ratios[0][0] <= _NETWORKS and ratios[1][1] <= _WHOLE
    head = (
        f"{count} slices, {len(found.direct)} interleaved rounds, {torch.get_num_threads()} threads, torch"
        f" {torch.__version__}; seconds, medians, and how many times the direct calls. The engine is"
        f" {found.engine.engine}, the fastest that gives the labels of single precision on this study"
        f" (Dice {min(found.engine.dice.values(), default=1.0):.5f}).\n\n"
        "| step | the files, s | × | the engine, s | × |\n|---|--:|--:|--:|--:|"
    )
    floors = (
        f"Networks {ratios[0][0]:.2f} × (bound {_NETWORKS}); all of it {ratios[0][1]:.2f} × with the files themselves,"
        f" {ratios[1][1]:.2f} × with the engine (bound {_WHOLE}): {'both hold' if holds else 'NOT both hold'}."
    )
    return "\n".join((head, *rows, "", floors)), holds


if __name__ == "__main__":
    if os.environ.get("GLIBC_TUNABLES") != TUNABLES:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "GLIBC_TUNABLES": TUNABLES})
    sys.exit(main())
