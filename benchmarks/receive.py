"""Receiving, side by side: Matins durable, beside DCMTK, Orthanc and pynetdicom as they are.

unshare --net bash -c 'ip link set lo up; exec .venv/bin/python benchmarks/receive.py --write'

Every cell is a workload at so many associations at once. The receivers take turns, `--rounds` times; figures are
medians. The sender keeps everything encoded in memory. A namespace of its own, since Orthanc listens on every address.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.receivers import Receiver, Running, matins, orthanc, pynetdicom, storescp  # noqa: E402
from benchmarks.sender import WORKLOADS, encoded  # noqa: E402

OURS, UNSYNCED = matins(), matins(sync=False)
FORK = storescp("--fork", "+B", "-pdu", "131072")
RECEIVERS = (OURS, UNSYNCED, FORK, storescp(), orthanc(), pynetdicom())
#: (ours, theirs, at least): the floors of the ratios of instances a second.
FLOORS = ((OURS, FORK, 0.6), (UNSYNCED, FORK, 0.9), (OURS, RECEIVERS[4], 2.5), (OURS, RECEIVERS[5], 6.0))
_CPU_FLOOR = 1.3
_RESULTS = ROOT / "benchmarks" / "results"
_runs = itertools.count(int(time.time()) % 100_000_000)


@dataclass(frozen=True)
class Cell:
    """What is sent, and how."""

    workload: str
    associations: int
    nagle: bool = False

    def __str__(self) -> str:
        """As a row's title."""
        return f"{self.workload} × {self.associations}" + (", Nagle on" if self.nagle else "")


@dataclass(frozen=True)
class Measured:
    """One receiver in one cell in one round."""

    per_second: float
    cpu_s_per_gb: float
    #: With what describes the instances meanwhile.
    whole_cpu_s_per_gb: float
    peak_mib: float
    set_up_ms: float


def measure(receiver: Receiver, cell: Cell, folder: Path, seconds: float) -> Measured:
    """Start the receiver anew, send, and count.

    Raises:
        RuntimeError: it did not start, or did not take everything.
    """
    running = Running(receiver, folder)
    try:
        task = {
            "port": running.port, "called": receiver.title, "workload": cell.workload, "seconds": seconds,
            "associations": cell.associations, "run": next(_runs), "nagle": cell.nagle,
        }  # fmt: skip
        running.begin()
        with subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "sender.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as sender:  # fmt: skip
            assert sender.stdin is not None
            assert sender.stdout is not None
            sender.stdin.write(json.dumps(task) + "\n")
            sender.stdin.flush()
            answer = sender.stdout.readline()
            # Before the associations end: a forking receiver's children take what they used with them.
            cost = running.end()
    finally:
        running.stop()
    if sender.returncode or not answer:
        raise RuntimeError(f"{receiver.name}, {cell}: the sender failed, or could not release its associations")
    sent = json.loads(answer)
    if sent["problems"] or sent["refused"] or not sent["instances"]:
        raise RuntimeError(f"{receiver.name}, {cell}: {sent['refused']} refused; {sent['problems'][:2]}")
    gigabytes = sent["octets"] / 1e9
    return Measured(
        per_second=sent["instances"] / sent["seconds"],
        cpu_s_per_gb=cost.cpu_s / gigabytes,
        whole_cpu_s_per_gb=(cost.cpu_s + cost.apart_cpu_s) / gigabytes,
        peak_mib=cost.peak_mib,
        set_up_ms=1000 * statistics.median(sent["set_up_s"]),
    )


@contextmanager
def busy(processors: int) -> Iterator[None]:
    """As many processes that compute without a pause, as the threads of a model do on a CPU."""
    others = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) for _ in range(processors)
    ]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def disk_limit(folder: Path, workload: str, seconds: float) -> float:
    """Instances a second that the disk takes: the same bytes written over ready blocks, a fdatasync each."""
    contents = [encoded(workload, shape)[0] for shape in WORKLOADS[workload]]
    blocks, limit = folder / "blocks", 256 << 20
    descriptor = os.open(blocks, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for at in range(0, limit, 1 << 20):
            os.pwrite(descriptor, bytes(1 << 20), at)
        os.fsync(descriptor)
        began_s, count, at = time.monotonic(), 0, 0
        while time.monotonic() - began_s < seconds:
            content = contents[count % len(contents)]
            at = at if at + len(content) <= limit else 0
            os.pwrite(descriptor, content, at)
            os.fdatasync(descriptor)
            at, count = at + len(content), count + 1
        return count / (time.monotonic() - began_s)
    finally:
        os.close(descriptor)
        blocks.unlink()


def table(cells: list[Cell], receivers: list[Receiver], found: dict[tuple[str, Cell], list[Measured]]) -> list[str]:
    """One row a cell and receiver, with its ratios to DCMTK's forking receiver."""
    lines = [
        "| cell | receiver | instances/s | × fork | CPU-s/GB | × fork | with describing | peak MiB | set-up ms |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for cell in cells:
        fork = _medians(found.get((FORK.name, cell), []))
        for receiver in receivers:
            own = _medians(found.get((receiver.name, cell), []))
            if own is None:
                why = "one association at a time" if receiver.one_at_a_time else "not measured"
                lines.append(f"| {cell} | {receiver.name} | {why} | | | | | | |")
                continue
            rate = f"{own.per_second / fork.per_second:.2f}" if fork else ""
            cpu = f"{own.cpu_s_per_gb / fork.cpu_s_per_gb:.2f}" if fork and fork.cpu_s_per_gb else ""
            lines.append(
                f"| {cell} | {receiver.name} | {own.per_second:.0f} | {rate} | {own.cpu_s_per_gb:.2f} | {cpu}"
                f" | {own.whole_cpu_s_per_gb:.2f} | {own.peak_mib:.0f} | {own.set_up_ms:.1f} |"
            )
    return lines


def verdicts(cells: list[Cell], found: dict[tuple[str, Cell], list[Measured]]) -> list[str]:
    """Each floor with the worst cell, and whether it holds there."""
    lines = ["| floor | worst cell | ratio | holds |", "|---|---|--:|---|"]
    straight = [cell for cell in cells if not cell.nagle]
    for ours, theirs, least in FLOORS:
        lines.append(
            _verdict(f"{ours.name} ≥ {least:g} × {theirs.name}", _ratios(straight, found, ours, theirs), least)
        )
    cpu = {cell: -ratio for cell, ratio in _ratios(straight, found, OURS, FORK, of="cpu_s_per_gb").items()}
    lines.append(_verdict(f"CPU-s/GB ≤ {_CPU_FLOOR:g} × {FORK.name}", cpu, -_CPU_FLOOR))
    plain = RECEIVERS[3]
    lines.append(
        _verdict(f"Nagle on: ≥ 50 × {plain.name}", _ratios([c for c in cells if c.nagle], found, OURS, plain), 50)
    )
    return lines


def _ratios(
    cells: list[Cell],
    found: dict[tuple[str, Cell], list[Measured]],
    ours: Receiver,
    theirs: Receiver,
    of: str = "per_second",
) -> dict[Cell, float]:
    """Ours to theirs in each cell, where both were measured; what took less than a tick of the clock is left out."""
    ratios: dict[Cell, float] = {}
    for cell in cells:
        own, other = _medians(found.get((ours.name, cell), [])), _medians(found.get((theirs.name, cell), []))
        if own and other and getattr(other, of):
            ratios[cell] = getattr(own, of) / getattr(other, of)
    return ratios


def _verdict(what: str, ratios: dict[Cell, float], least: float) -> str:
    if not ratios:
        return f"| {what} | not measured | | |"
    worst = min(ratios, key=lambda cell: ratios[cell])
    return f"| {what} | {worst} | {abs(ratios[worst]):.2f} | {'yes' if ratios[worst] >= least else 'NO'} |"


def _medians(many: list[Measured]) -> Measured | None:
    if not many:
        return None
    names = Measured.__dataclass_fields__
    return Measured(**{name: statistics.median(getattr(each, name) for each in many) for name in names})


def main() -> int:
    """Measure all cells and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each cell is sent to")
    parser.add_argument("--workloads", default="ct,mr,dx")
    parser.add_argument("--associations", default="1,2,4,8")
    parser.add_argument("--receivers", default="", help="only those whose name contains one of these, comma-separated")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; default: the temporary folder")
    parser.add_argument("--write", action="store_true", help="keep the result in benchmarks/results")
    parser.add_argument("--name", default="receive", help="of the file that --write writes; default: %(default)s")
    parser.add_argument("--busy", type=int, default=0, help="processors that others keep busy, as a model does")
    given = parser.parse_args()
    words = [word for word in given.receivers.split(",") if word]
    receivers = [
        each for each in RECEIVERS if not words or any(word == each.name or word in each.name.split() for word in words)
    ]
    workloads = given.workloads.split(",")
    cells = [Cell(name, int(number)) for name in workloads for number in given.associations.split(",")]
    cells += [Cell("mr", 1, nagle=True)] if "mr" in workloads else []
    found: dict[tuple[str, Cell], list[Measured]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="matins-receive-", dir=given.folder) as name, busy(given.busy):
        limits = {workload: disk_limit(Path(name), workload, given.seconds) for workload in workloads}
        for round_number in range(given.rounds):
            for cell in cells:
                for receiver in receivers:
                    if receiver.one_at_a_time and cell.associations > 1:
                        continue
                    try:
                        one = measure(receiver, cell, Path(name) / "r", given.seconds)
                    except (RuntimeError, subprocess.SubprocessError) as error:
                        print(f"{receiver.name}, {cell}: {error}", file=sys.stderr)
                    else:
                        found[receiver.name, cell].append(one)
                        print(f"{receiver.name}, {cell}: {one.per_second:.0f}/s", file=sys.stderr)
            print(f"round {round_number + 1} of {given.rounds}", file=sys.stderr)
    disk = ", ".join(f"{name} {limit:.0f}/s" for name, limit in limits.items())
    told = f"{given.rounds} interleaved rounds of {given.seconds:g} s a cell, medians; {os.cpu_count()} cores"
    told += f", {given.busy} of them busy with something else (the sender feels it, too)" if given.busy else ""
    whose = "The disk beside it" if given.busy else "The disk alone"
    lines = [
        "# Receiving",
        "",
        f"{told}. Matins syncs every object before it answers; the others run as they come.",
        f"{whose}, the same bytes written over ready blocks with a fdatasync each: {disk}.",
        "",
        *verdicts(cells, found),
        "",
        *table(cells, receivers, found),
    ]
    print("\n".join(lines))
    if given.write:
        (_RESULTS / f"{given.name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
