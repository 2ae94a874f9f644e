"""The shipped brain model on a whole head, beside the bare calls of its two TorchScript files.

    .venv/bin/python benchmarks/brain_t1.py [--study FOLDER] [--rounds 5] [--write]

Interleaved in one process that is set up as a model's child is: the two files called directly on cubes of their sizes,
and the study read from its DICOM files to findings in source geometry. The first study includes what the warm-up left.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from pydicom import dcmread  # noqa: E402

from node.catalogue import Model, load_models  # noqa: E402
from node.domain.model_card import Mode  # noqa: E402
from node.imaging import pipelines  # noqa: E402
from node.imaging.pipelines import Fitting, Given  # noqa: E402
from node.imaging.volume import read_volume  # noqa: E402
from node.infer.findings import conclude  # noqa: E402
from node.infer.model_child import TUNABLES  # noqa: E402
from node.receive.fields import instance_of  # noqa: E402

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
    direct, ours = measured(model, files, given.rounds)
    table, holds = render(direct, ours, len(files))
    print(table)
    if given.write:
        _RESULTS.write_text(f"# The brain model\n\n{table}\n", encoding="utf-8")
    return 0 if holds else 1


def measured(model: Model, files: Sequence[Path], rounds: int) -> tuple[list[float], list[dict[str, float]]]:
    """Seconds of the direct calls, and of the steps of ours, round by round."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    runner = pipelines.named(model.card.pipeline).load(
        Fitting(card=model.card, folder=model.folder, weights=model.weights, device="cpu")
    )
    runner.warm_up()
    bare = {role: torch.jit.load(path, map_location="cpu").eval() for role, path in model.weights.items()}
    cubes = {role: torch.rand((1, 1, *[int(model.card.parameters[f"{role}_size"])] * 3)) for role in bare}
    slices = [(path, instance_of(dcmread(path, stop_before_pixels=True), issuer="", has_pixels=True)) for path in files]
    direct: list[float] = []
    ours: list[dict[str, float]] = []
    for number in range(rounds + 1):
        started = time.perf_counter()
        with torch.inference_mode():
            for role, network in bare.items():
                network(cubes[role])
        direct.append(time.perf_counter() - started)
        started = time.perf_counter()
        study = Given(volumes={"": read_volume(slices)}, instances=tuple(each for _, each in slices))
        read_s = time.perf_counter() - started
        reading = runner.run(study)
        began = time.perf_counter()
        for content in conclude(model.card, study, reading, runner).files:
            content.encode()
        ours.append({"read_s": read_s, **reading.timings, "conclude_s": time.perf_counter() - began})
        print(f"round {number} of {rounds}: {direct[-1]:.2f} s, {sum(ours[-1].values()):.2f} s", file=sys.stderr)
    return direct[1:], ours[1:]


def render(direct: Sequence[float], ours: Sequence[dict[str, float]], count: int) -> tuple[str, bool]:
    """Return the table, and whether both bounds hold."""
    bare = statistics.median(direct)
    rows = [f"| the two files called directly | {bare:.2f} | 1.00 |"]
    for step in _STEPS:
        value = statistics.median(each[step] for each in ours)
        rows.append(f"| {step.removesuffix('_s')} | {value:.2f} | {value / bare:.2f} |")
    networks = statistics.median(each["model_s"] / other for each, other in zip(ours, direct, strict=True))
    whole = statistics.median(sum(each.values()) / other for each, other in zip(ours, direct, strict=True))
    holds = networks <= _NETWORKS and whole <= _WHOLE
    head = (
        f"{count} slices, {len(direct)} interleaved rounds, {torch.get_num_threads()} threads, torch"
        f" {torch.__version__}; seconds, medians.\n\n| step | s | of the direct calls |\n|---|--:|--:|"
    )
    floors = (
        f"Networks {networks:.2f} × (bound {_NETWORKS}), all of it {whole:.2f} × (bound {_WHOLE}):"
        f" {'both hold' if holds else 'NOT both hold'}."
    )
    return "\n".join((head, *rows, "", floors)), holds


if __name__ == "__main__":
    if os.environ.get("GLIBC_TUNABLES") != TUNABLES:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "GLIBC_TUNABLES": TUNABLES})
    sys.exit(main())
