"""What a Segmentation and its measurement report cost, beside highdicom's own path on the same mask.

    .venv/bin/python benchmarks/report.py [--rounds 3] [--segments 1 5 104] [--folder DIR] [--write]

300 slices of 512×512. `ours` checks the evidence, builds both, writes them durably and hashes them; `highdicom` builds
a Segmentation with default arguments and a TID 1500 report whose groups refer to its segments, and saves both with
save_as; outlines it is given. Each way runs in a process of its own, in interleaved rounds; headers and mask are in
memory when the clock starts. Memory is the peak above what the loaded program holds, mask included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from benchmarks.plain_report import CATEGORY, SHAPE, TERM, Given, by_highdicom  # noqa: E402
from node.domain.finding import MILLILITRE, VOLUME, Finding, Measurement, Segment  # noqa: E402
from node.domain.model_card import ModelCard  # noqa: E402
from node.report import shelf  # noqa: E402
from node.report.composition import compose  # noqa: E402
from node.report.evidence import Evidence  # noqa: E402
from node.report.outputs import outputs  # noqa: E402
from node.report.warming import warm  # noqa: E402
from node.store.database import open_database  # noqa: E402

_RESULT = ROOT / "benchmarks" / "results" / "report.md"
_SEGMENTS = (1, 5, 104)
_KINDS = ("seg", "measurement_sr")
_MIB = 2**20
#: Ours may take this share of highdicom's time, so many times what goes in and comes out, and for 104 segments this.
_MOST_OF_TIME, _MOST_OF_MEMORY, _MOST_S, _MOST_MIB = 0.5, 2.0, 20.0, 2048.0


@dataclass(frozen=True)
class Cost:
    """One run of one way."""

    seconds: float
    memory_mib: float
    peak_mib: float
    object_mib: float
    frames: int


def ours(given: Given, folder: Path) -> Callable[[], list[Path]]:
    """From mask and headers to both files, durable and hashed."""
    available = outputs()
    card = ModelCard(
        name="benchmark", version="1", title="Benchmark", purpose="None", intended_use="None", licence="", citation="",
        manufacturer="", pipeline="", weights=(), requires=(), procedure=TERM,
        segments=tuple(Segment(number=n, label=f"Part {n}", category=CATEGORY, type=TERM) for n in given.numbers),
    )  # fmt: skip
    findings = tuple(
        Finding(
            code=TERM,
            segment_number=number,
            measurements=(Measurement(quantity=VOLUME, value=given.volumes_ml[number], unit=MILLILITRE),),
        )
        for number in given.numbers
    )
    db = open_database(folder / "var", "report")

    def run() -> list[Path]:
        evidence = Evidence(
            sources=given.sources, grid=given.grid, mask=given.mask, findings=findings, card=card,
            model_digest="1" * 64, card_digest="2" * 64, content_digest="3" * 64, run_number=1, revision=1,
            finished_at=datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        built = compose(evidence, _KINDS, available, {})
        stored = [shelf.store(db, kind, evidence.profile, dataset) for kind, dataset in built.items()]
        db.close()
        return [db.folder / each.path for each in stored]

    return run


WAYS: dict[str, Callable[[Given, Path], Callable[[], list[Path]]]] = {"ours": ours, "highdicom": by_highdicom}


def one_run(way: str, segments: int, folder: Path) -> Cost:
    """Run one way in this process."""
    given = Given(segments)
    warm(_KINDS, outputs())
    run = WAYS[way](given, folder)
    mask_mib = given.mask.nbytes / _MIB
    loaded_mib = _status_mib("VmRSS") - mask_mib
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: proc(5)
    began_s = time.perf_counter()
    files = run()
    seconds = time.perf_counter() - began_s
    peak_mib = _status_mib("VmHWM")
    size = sum(file.stat().st_size for file in files)
    return Cost(seconds, peak_mib - loaded_mib, peak_mib, size / _MIB, given.frames)


def _status_mib(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


def _measured(way: str, segments: int, within: Path) -> Cost:
    with tempfile.TemporaryDirectory(prefix="matins-report-", dir=within) as folder:
        answer = subprocess.run(
            [sys.executable, __file__, "--one", way, "--segments", str(segments), "--folder", folder],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    return Cost(**json.loads(answer.stdout.splitlines()[-1]))


def render(found: dict[tuple[str, int], list[Cost]], segments: list[int]) -> tuple[str, bool]:
    """The table, and whether every bound holds."""
    heads = (
        "segments",
        "frames",
        "MiB written",
        "ours, s",
        "highdicom, s",
        "ratio",
        "ours, MiB",
        "of mask and objects",
    )
    lines = [f"| {' | '.join(heads)} | highdicom, MiB |", "|--:" * (len(heads) + 1) + "|"]
    holds = True
    for number in segments:
        pair = {way: found[way, number] for way in WAYS}
        seconds = {way: [each.seconds for each in runs] for way, runs in pair.items()}
        ratio = statistics.median(a / b for a, b in zip(*seconds.values(), strict=True))
        memory = {way: max(each.memory_mib for each in runs) for way, runs in pair.items()}
        first = pair["ours"][0]
        share = memory["ours"] / (first.object_mib + np.prod(SHAPE) / _MIB)
        holds &= ratio <= _MOST_OF_TIME and share <= _MOST_OF_MEMORY
        if number == max(_SEGMENTS):
            peak = max(each.peak_mib for each in pair["ours"])
            holds &= statistics.median(seconds["ours"]) <= _MOST_S and peak <= _MOST_MIB
        shown = {
            way: f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for way, each in seconds.items()
        }
        lines.append(
            f"| {number} | {first.frames} | {first.object_mib:.0f} | {shown['ours']} | {shown['highdicom']} |"
            f" {ratio:.2f} | {memory['ours']:.0f} | {share:.2f} × | {memory['highdicom']:.0f} |"
        )
    return "\n".join(lines), bool(holds)


def main() -> int:
    """Measure, print the table, and say whether the bounds hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--segments", type=int, nargs="+", default=list(_SEGMENTS))
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where the objects are written")
    parser.add_argument("--write", action="store_true", help=f"keep the table in {_RESULT.relative_to(ROOT)}")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one_run(given.one, given.segments[0], given.folder).__dict__))
        return 0
    found: dict[tuple[str, int], list[Cost]] = defaultdict(list)
    for number in range(given.rounds):
        for segments in given.segments:
            for way in WAYS:
                found[way, segments].append(_measured(way, segments, given.folder))
                cost = found[way, segments][-1]
                print(f"round {number + 1}, {segments} of {way}: {cost.seconds:.2f} s", file=sys.stderr)
    table, holds = render(found, given.segments)
    text = (
        f"# Segmentation and report\n\n{given.rounds} rounds, {os.cpu_count()} cores; 300×512×512; seconds, median"
        f" (least to most); ratio, median of the rounds; memory, most of the rounds.\n\n{table}\n\n"
        f"Bounds: ratio ≤ {_MOST_OF_TIME}; memory ≤ {_MOST_OF_MEMORY:g} × (mask and objects); 104 segments in"
        f" {_MOST_S:g} s and {_MOST_MIB / 1024:g} GiB.\n"
    )
    print(text)
    if given.write:
        _RESULT.write_text(text, encoding="utf-8")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
