"""How long from the last acknowledged instance to the SR at the archive, and where that time goes.

    .venv/bin/python benchmarks/first_light.py [--study FOLDER] [--runs 3] [--quiet 2] [--write]

Each run starts a node and an archive in a folder of its own, sends one study over the network and reads the stages
from the node's own events. The two forwards of the networks are timed by the model's child in that very run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pydicom import dcmread  # noqa: E402

from tests.site import ArchiveProcess, Site, running, wait_until  # noqa: E402

_RESULTS = ROOT / "benchmarks" / "results" / "first_light.md"
_LIMIT_S = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, and say whether the bound holds."""
    default = Path(os.environ.get("MATINS_TEST_DATA", ROOT.parent / "shared" / "data")) / "dicom" / "studyforrest_T1w"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=default, help="folder with one T1 MR study")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quiet", type=float, default=2.0, help="quiet time, seconds")
    parser.add_argument("--write", action="store_true", help=f"keep the table in {_RESULTS.relative_to(ROOT)}")
    given = parser.parse_args(arguments)
    files = sorted(path for path in given.study.rglob("*") if path.suffix == ".dcm")
    if not files:
        parser.error(f"no *.dcm below {given.study}")
    runs = []
    for number in range(given.runs):
        runs.append(one_run(files, given.quiet))
        print(f"run {number + 1} of {given.runs}: {sum(runs[-1].values()):.2f} s", file=sys.stderr)
    table = render(runs, len(files))
    print(table)
    if given.write:
        _RESULTS.write_text(f"# First light\n\n{table}\n", encoding="utf-8")
    return 0 if statistics.median(own_time(run) for run in runs) <= _LIMIT_S else 1


def one_run(files: Sequence[Path], quiet_s: float) -> dict[str, float]:
    """Send one study to a fresh node; return stage → seconds, in the order in which they pass."""
    with tempfile.TemporaryDirectory(prefix="matins-") as folder:
        archive = ArchiveProcess(Path(folder) / "archive")
        site = Site(Path(folder) / "site", quiet_s=quiet_s)
        site.peer("SCANNER", roles=["source"], results_to=["PACS"])
        site.peer("PACS", port=archive.port, roles=["destination"])
        with running(site, archive):
            answers = site.send(files, calling="SCANNER")
            acknowledged = datetime.now(UTC).timestamp()
            assert all(answer.status == 0 for answer in answers), "not every instance was accepted"
            wait_until("SEG and SR at the archive", lambda: len(archive.objects()) == 2, limit_s=300)
            arrived = max(path.stat().st_mtime for path in archive.objects())
            uid = dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
            wait_until("the study to be done", lambda: site.story(uid)["state"] == "done")
            return stages(site.story(uid), acknowledged, arrived, quiet_s)


def stages(story: dict[str, Any], acknowledged: float, arrived: float, quiet_s: float) -> dict[str, float]:
    """Split the time by the study's events."""
    closed = moment(story, "revision", "closed")
    claimed, finished = moment(story, "infer:", "claimed"), moment(story, "infer:", "finished")
    report_claimed, report_finished = moment(story, "report:", "claimed"), moment(story, "report:", "finished")
    timings = story["outcomes"][0]["timings"]
    inside = {name: float(timings[f"{name}_s"]) for name in ("read", "prepare", "model", "finish")}
    return {
        "waiting: quiet time": quiet_s,
        "waiting: describe, close, assign": closed - acknowledged - quiet_s,
        "reading: claim": claimed - closed,
        "reading: series into volume": inside["read"],
        "reading: before the networks": inside["prepare"],
        "model: the two forwards": inside["model"],
        "reading: back to the source grid": inside["finish"],
        "reading: mask, measure, hand over": finished - claimed - sum(inside.values()),
        "report: claim": report_claimed - finished,
        "report: SEG and SR": report_finished - report_claimed,
        "delivery: to the archive": arrived - report_finished,
    }


def moment(story: dict[str, Any], subject: str, after: str) -> float:
    """When the last event of that kind happened, seconds since 1970."""
    found = [
        event
        for event in story["events"]
        if (event["subject"].startswith(subject) or event["about"] == subject) and event["after"] == after
    ]
    return datetime.fromisoformat(found[-1]["at"]).timestamp()


def own_time(run: dict[str, float]) -> float:
    """What is neither quiet time nor model, seconds."""
    return sum(
        seconds for stage, seconds in run.items() if stage not in ("waiting: quiet time", "model: the two forwards")
    )


def render(runs: Sequence[dict[str, float]], instances: int) -> str:
    """The table: median and range of each stage, and its share of the model's time in the same run."""
    lines = [
        f"{instances} instances, {len(runs)} runs, {os.cpu_count()} cores; seconds, median (least to most).",
        "",
        "| stage | s | of the model's time |",
        "|---|--:|--:|",
    ]
    model = "model: the two forwards"
    rows = {stage: [run[stage] for run in runs] for stage in runs[0]}
    rows["**neither quiet time nor model**"] = [own_time(run) for run in runs]
    rows["last acknowledgement to SR at the archive"] = [sum(run.values()) for run in runs]
    for stage, values in rows.items():
        ratio = statistics.median(value / run[model] for value, run in zip(values, runs, strict=True))
        spread = f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
        lines.append(f"| {stage} | {spread} | {ratio:.2f} × |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
