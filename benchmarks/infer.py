"""A CT series through a network, from DICOM frames to labels in source geometry, beside MONAI's own way.

    .venv/bin/python benchmarks/infer.py [--quick] [--rounds 3] [--classes 105] [--folder DIR] [--write]

The zoo's spleen network (4.8 million parameters, windows of 96³) on 300×512×512. MONAI runs the bundle's transforms and
`SlidingWindowInferer` with four windows at once, at the bundle's overlap of 0.5 and at 0.25; ours runs in single
precision, and with the engine that is chosen by measurement on another made-up volume, as on the node. Weights are
fitted for some minutes to a made-up target and kept in the folder. Each way runs in a process of its own, in
interleaved rounds, after one window on nothing; memory is the peak of that process. `--classes` measures ours alone,
with random weights. On a machine with a GPU all of it runs there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import nibabel  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks import spleen  # noqa: E402
from node.imaging.engines.measuring import dice  # noqa: E402
from node.store import engine_evidence  # noqa: E402

#: Weights that were fitted otherwise are others.
_WEIGHTS = f"weights-{spleen.STEPS}.pt"
_RESULT = ROOT / "benchmarks" / "results" / "infer.md"
_SHAPE, _QUICK = (300, 512, 512), (90, 224, 224)
#: Way → overlap.
_MONAI = {"monai-0.5": 0.5, "monai-0.25": 0.25}
_OURS = {"ours-fp32": 0.5, "ours-fp32-0.25": 0.25, "ours-best": 0.5}
WAYS = ("monai-0.5", "ours-best", "monai-0.25", "ours-fp32", "ours-fp32-0.25")
_PARTS = ("read_s", "prepare_s", "model_s", "finish_s")
#: What has to hold: end to end and network, times as fast; share of memory; Dice; memory of 105 classes.
_FASTER, _NETWORK_FASTER, _MEMORY, _DICE, _CLASSES_GIB = 5.0, 2.5, 0.6, 0.999, 4.0
_GPU_MS, _GPU_FASTER = 150.0, 7.0


def one_run(way: str, folder: Path, classes: int) -> dict[str, Any]:
    """Read the series once, in this process; keep the labels."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = spleen.network(classes, folder / _WEIGHTS if classes == 2 else None)
    engine = ""
    if way in _MONAI:
        theirs = spleen.ByMonai(model, device, _MONAI[way])
        read = theirs.read
        with torch.no_grad():
            model(torch.zeros(4, 1, 96, 96, 96, device=device))
    else:
        evidence = folder / "evidence" if way == "ours-best" else None
        ours = spleen.by_matins(folder, model, device, evidence, _OURS[way])
        engine = ours.way.name
        with torch.inference_mode():
            ours.way.forward(torch.zeros(ours.way.batch, 1, 96, 96, 96, device=device))

        def read(volume: Any) -> tuple[Any, Any]:
            result = ours.read([volume])
            return result.labels[0], result.timings

    if device == "cuda":
        read(spleen.read_series(folder / "series")[0])
    volume, read_s = spleen.read_series(folder / "series")
    labels, timings = read(volume)
    np.save(folder / f"{way}.npy", labels)
    status = Path("/proc/self/status").read_text().splitlines()
    peak_mib = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))
    device_mib = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
    return {"read_s": read_s, **timings, "peak_mib": peak_mib, "device_mib": device_mib, "engine": engine}


def measure_engines(folder: Path, quick: bool) -> None:
    """Choose an engine on a made-up case, as `matins models measure` does."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    shape = (70, 160, 160) if quick else (150, 320, 320)
    values, _ = spleen.phantom(shape, (2.0, 1.1, 1.1), 7)
    case = folder / "case.nii.gz"
    affine = np.diag([-1.1, -1.1, 2.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(values.T, affine), case)
    planned = spleen.by_matins(folder, spleen.network(2, folder / _WEIGHTS), device, None, 0.5)
    told = lambda name, done, total: print(f"engine {done + 1} of {total}: {name}", file=sys.stderr, flush=True)  # noqa: E731
    evidence = planned.measure([case], datetime.now(UTC), told)
    engine_evidence.write(folder / "evidence", evidence)


def _child(*arguments: str) -> str:
    run = subprocess.run([sys.executable, "-W", "ignore", __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True)  # fmt: skip  # noqa: E501
    return run.stdout.splitlines()[-1] if run.stdout.strip() else ""


def _ready(folder: Path, quick: bool) -> None:
    """Weights, series and evidence, as far as they are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _WEIGHTS).exists():
        _child("--step", "fit", "--folder", str(folder))
    shutil.rmtree(folder / "series", ignore_errors=True)
    values, _ = spleen.phantom(_QUICK if quick else _SHAPE, spleen.SPACING_MM, 42)
    spleen.write_series(folder / "series", values)
    del values
    _child("--step", "measure", "--folder", str(folder), *(["--quick"] if quick else []))


def _total(run: dict[str, Any]) -> float:
    return sum(float(run[part]) for part in _PARTS)


def render(found: dict[str, list[dict[str, Any]]], folder: Path) -> tuple[str, bool]:
    """The table, the evidence and the ratios, and whether every bound holds."""
    heads = " | ".join(
        ("way", "engine", *(part.removesuffix("_s") + ", s" for part in _PARTS), "in all, s", "pre/post")
    )
    lines = [f"| {heads} | peak, MiB | on GPU, MiB | Dice |", "|---|---" + "|--:" * 9 + "|"]
    expected = np.load(folder / "monai-0.5.npy")
    agreement = {}
    for way in WAYS:
        runs = found[way]
        parts = [statistics.median(each[part] for each in runs) for part in _PARTS]
        total = statistics.median(_total(each) for each in runs)
        agreement[way] = min(dice(np.load(folder / f"{way}.npy"), expected).values(), default=0.0)
        seconds = " | ".join(f"{each:.2f}" for each in (*parts, total))
        share = (parts[1] + parts[3]) / total
        peak, on_gpu = (max(each[key] for each in runs) for key in ("peak_mib", "device_mib"))
        lines.append(
            f"| {way} | {runs[0]['engine']} | {seconds} | {share:.0%} | {peak:.0f} | {on_gpu:.0f} |"
            f" {agreement[way]:.5f} |"
        )
    lines.append("\n| ratio | end to end | network | peak memory |\n|---|--:|--:|--:|")
    ratios = {}
    pairs = (
        ("monai-0.5", "ours-best"), ("monai-0.25", "ours-best"),
        ("monai-0.5", "ours-fp32"), ("monai-0.25", "ours-fp32-0.25"),
    )  # fmt: skip
    for theirs, ours in pairs:
        both = list(zip(found[theirs], found[ours], strict=True))
        whole = statistics.median(_total(a) / _total(b) for a, b in both)
        part = statistics.median(a["model_s"] / b["model_s"] for a, b in both)
        memory = max(b["peak_mib"] for _, b in both) / max(a["peak_mib"] for a, _ in both)
        ratios[theirs, ours] = whole, part, memory
        lines.append(f"| {ours} to {theirs} | {whole:.2f} × | {part:.2f} × | {memory:.2f} |")
    whole, part, memory = ratios["monai-0.5", "ours-best"]
    holds = min(agreement["ours-best"], agreement["ours-fp32"]) >= _DICE
    if torch.cuda.is_available():
        after_ms = 1000 * statistics.median(_total(each) - each["read_s"] for each in found["ours-best"])
        faster = statistics.median(
            (_total(a) - a["read_s"]) / (_total(b) - b["read_s"])
            for a, b in zip(found["monai-0.5"], found["ours-best"], strict=True)
        )
        lines.append(f"\nOn the GPU, after decoding: {after_ms:.0f} ms, {faster:.1f} × as fast as MONAI there.")
        return "\n".join(lines), bool(holds and after_ms <= _GPU_MS and faster >= _GPU_FASTER)
    holds &= whole >= _FASTER and part >= _NETWORK_FASTER and memory <= _MEMORY
    return "\n".join(lines), bool(holds)


def of_engines(folder: Path) -> str:
    """What was measured of each engine."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    evidence = engine_evidence.read(folder / "evidence", "spleen", device)
    assert evidence is not None
    lines = ["| engine | dtype | windows at once | s | peak, MiB | least Dice | |", "|---|---|--:|--:|--:|--:|---|"]
    for each in evidence.trials:
        worst = f"{min(each.dice.values()):.5f}" if each.dice else ""
        told = "chosen" if each.engine == evidence.chosen else each.problem
        lines.append(
            f"| {each.engine} | {each.dtype} | {each.batch} | {each.seconds:.2f} | {each.peak_bytes / 2**20:.0f} |"
            f" {worst} | {told} |"
        )
    versions = ", ".join(f"{name} {version}" for name, version in evidence.versions.items())
    return f"{evidence.device_name}, {evidence.threads} threads; {versions}\n\n" + "\n".join(lines)


def main() -> int:
    """Measure, print the tables, and say whether the bounds hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"a series of {_QUICK}, for a look")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/matins-infer"), help="weights are kept there")
    parser.add_argument("--write", action="store_true", help=f"keep the tables in {_RESULT.relative_to(ROOT)}")
    parser.add_argument("--step", choices=("fit", "measure", "one"), help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step == "fit":
        spleen.fit(given.folder / _WEIGHTS)
    elif given.step == "measure":
        measure_engines(given.folder, given.quick)
    elif given.step == "one":
        print(json.dumps(one_run(given.way, given.folder, given.classes)))
    if given.step:
        return 0
    _ready(given.folder, given.quick)

    def run(way: str) -> dict[str, Any]:
        arguments = ("--step", "one", "--way", way, "--folder", str(given.folder), "--classes", str(given.classes))
        result: dict[str, Any] = json.loads(_child(*arguments))
        print(f"{way}: {_total(result):.2f} s, {result['peak_mib']:.0f} MiB", file=sys.stderr, flush=True)
        return result

    if given.classes != 2:
        cost = run("ours-fp32-0.25")
        print(f"{given.classes} classes: {_total(cost):.1f} s, {cost['peak_mib'] / 1024:.2f} GiB")
        return int(cost["peak_mib"] / 1024 > _CLASSES_GIB)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(given.rounds):
        for way in WAYS:
            found[way].append(run(way))
    table, holds = render(found, given.folder)
    shape = "×".join(str(size) for size in (_QUICK if given.quick else _SHAPE))
    text = (
        f"# A series through a network\n\n{shape}; {given.rounds} rounds, {os.cpu_count()} cores; medians; Dice with"
        f" MONAI's single precision at overlap 0.5.\n\n{table}\n\nEngines, on the validation case:"
        f" {of_engines(given.folder)}\n\nBounds: {_FASTER:g} × end to end, {_NETWORK_FASTER:g} × the network,"
        f" {_MEMORY:g} of the memory, Dice {_DICE:g}; {_CLASSES_GIB:g} GiB for 105 classes (`--classes 105`).\n"
    )
    print(text)
    if given.write:
        _RESULT.write_text(text, encoding="utf-8")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
