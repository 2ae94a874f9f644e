"""A whole night through the whole node, and whether the list of the morning is right.

    .venv/bin/python benchmarks/night.py [--studies 300] [--minutes 10] [--archive embedded|orthanc] [--write]

Made-up patients come over the network (MR, CT, X-ray; ordinary orders, STAT, two hospitals, nobody's ID, follow-ups),
with priors and reports in a real archive, history from a FHIR server and over HL7, orders before and after the images,
reports and pins by people. At the end the list has to be what `tests/triage/brute_force.py`, which shares no code with
`node.triage`, makes of what was sent. Orthanc runs in a network of its own (`unshare`), as it listens everywhere.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.journeys.night import judge  # noqa: E402
from tests.journeys.night.hospital import Hospital, open_night  # noqa: E402
from tests.journeys.night.plan import Night, Study  # noqa: E402
from tests.orthanc import Orthanc  # noqa: E402
from tests.site import Site  # noqa: E402

_RESULTS = ROOT / "benchmarks" / "results" / "night.md"
_LIMIT_S, _OWN_LIMIT_S = 60.0, 10.0
_SAMPLE_S = 5.0
_TOLD = "SELECT told_at, acknowledged_at FROM notice WHERE study_instance_uid = ? AND state = 'acknowledged'"
#: Between a result and the notice of it.
_AT_ONCE_S = 0.5
_ALONE = "MATINS_NIGHT_ALONE"


@dataclass
class Peak:
    """The highest proportional set size of the node and its children, sampled until it ends."""

    process: psutil.Process
    mib: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Sample until it is over."""
        while not self.over.wait(_SAMPLE_S):
            total = 0
            for each in [self.process, *self.process.children(recursive=True)]:
                with suppress(psutil.Error, OSError):
                    total += each.memory_full_info().pss
            self.mib = max(self.mib, total / (1 << 20))


@dataclass(frozen=True)
class Flag:
    """A STAT study, and when the RIS had acknowledged what it was told of it; seconds after the last instance."""

    study: str
    first_s: float
    #: The message of the model's result, and how long it read; `None` where there was nothing to tell of it: then
    #: history that others told speaks.
    result_s: float | None
    model_s: float = 0.0

    @property
    def own_s(self) -> float:
        """What is not the model."""
        return self.first_s if self.result_s is None else self.result_s - self.model_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a night, print what came of it, and say by the exit code whether all of it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=10.0, help="over which they arrive")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--archive", choices=["embedded", "orthanc"], default="embedded")
    parser.add_argument("--write", action="store_true", help=f"keep it in {_RESULTS.relative_to(ROOT)} if all holds")
    given = parser.parse_args(arguments)
    if given.archive == "orthanc" and _ALONE not in os.environ:
        os.environ[_ALONE] = "1"
        words = [sys.executable, str(Path(__file__).resolve()), *(sys.argv[1:] if arguments is None else arguments)]
        os.execvp("unshare", ["unshare", "--net", "bash", "-c", 'ip link set lo up; exec "$@"', "night", *words])
    with tempfile.TemporaryDirectory(prefix="matins-night-") as folder:
        text, wrong = one_night(Path(folder), given)
    print(text)
    for each in wrong:
        print(f"WRONG: {each}")
    if given.write and not wrong:
        keep(given.archive, text)
    return 1 if wrong else 0


def one_night(folder: Path, given: argparse.Namespace) -> tuple[str, list[str]]:
    """Run it; return the tables, and what does not hold."""
    night = Night(given.seed, given.studies)
    archive = orthanc if given.archive == "orthanc" else None
    with open_night(folder, night, archive=archive) as hospital:
        assert hospital.site.process is not None
        peak = Peak(psutil.Process(hospital.site.process.pid))
        watching = threading.Thread(target=peak.watch)
        watching.start()
        try:
            began = time.time()
            send_all(hospital, given.minutes * 60.0)
            hospital.is_through("every study to be read", limit_s=1800)
            took_s = time.time() - began
            flags = [flag_of(hospital, each) for each in night.studies if each.is_stat]
            hospital.people_act()
            hospital.is_through("what people did", limit_s=300)
        finally:
            peak.over.set()
            watching.join()
        rows: list[dict[str, Any]] = hospital.site.json("worklist")["studies"]
        wrong = judge.differences(hospital, rows) + judge.told_wrongly(hospital, rows)
        told = [each for each in flags if each is not None]
        for each in sorted(told, key=lambda flag: -flag.own_s)[:5]:
            print(f"slowest: {each}", file=sys.stderr)
        wrong += slow(told)
        return render(hospital, rows, told, took_s, peak.mib), wrong


def orthanc(folder: Path, site: Site) -> tuple[int, str, AbstractContextManager[object]]:
    """An Orthanc as the archive."""
    made = Orthanc(folder, site)
    return made.port, "ORTHANC", made.running()


def send_all(hospital: Hospital, over_s: float) -> None:
    """Orders, history and images, each study at its moment; an order that changes comes with the next study."""
    studies, began = hospital.night.studies, time.monotonic()
    late: list[Study] = []
    for number, study in enumerate(studies):
        due_s = over_s * number / len(studies)
        time.sleep(max(0.0, began + due_s - time.monotonic()))
        hospital.tell(study)
        hospital.scan(study)
        for each in late:
            hospital.order(each, each.ordered_after)
        late = [study] if study.ordered_after else []
        if number % 20 == 0:
            print(f"{number + 1} of {len(studies)} sent; left: {hospital.site.unfinished()}", file=sys.stderr)
    for each in late:
        hospital.order(each, each.ordered_after)


def flag_of(hospital: Hospital, study: Study) -> Flag | None:
    """When the RIS knew; `None` where there is nothing that it does not know from the order."""
    last, rows = hospital.ended[study.uid], hospital.site.rows
    told = rows(_TOLD, study.uid)
    if not told:
        return None
    messages = [at for at, _ in hospital.ris.told_of(study.accession)]
    read = rows("SELECT finished_at, timings FROM outcome WHERE study_instance_uid = ? AND state = 'result'", study.uid)
    first_s = min(messages) - last
    if not read:
        return Flag(study.uid, first_s, None)
    read_at, timings = moment(read[0]["finished_at"]), json.loads(read[0]["timings"])
    # A notice is written in the transaction of what it tells.
    after = [moment(row["acknowledged_at"]) for row in told if abs(moment(row["told_at"]) - read_at) < _AT_ONCE_S]
    model_s = sum(float(timings.get(key, 0.0)) for key in ("load_s", "prepare_s", "model_s", "finish_s"))
    return Flag(study.uid, first_s, min(after) - last if after else None, model_s)


def moment(text: str) -> float:
    """Seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def slow(flags: Sequence[Flag]) -> list[str]:
    """Which bound does not hold."""
    if not flags:
        return ["no STAT study was told of"]
    read = [each for each in flags if each.result_s is not None]
    whole = percentile([each.result_s or each.first_s for each in flags], 95)
    own = percentile([each.own_s for each in read], 95) if read else 0.0
    told = [f"p95 to the flag is {whole:.1f} s, above {_LIMIT_S:g} s"] if whole > _LIMIT_S else []
    return told + ([f"p95 without the model is {own:.1f} s, above {_OWN_LIMIT_S:g} s"] if own > _OWN_LIMIT_S else [])


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed."""
    ascending = sorted(values)
    return ascending[max(0, ceil(len(ascending) * percent / 100) - 1)]


def render(
    hospital: Hospital, rows: Sequence[dict[str, Any]], flags: Sequence[Flag], took_s: float, peak_mib: float
) -> str:
    """The tables."""
    night, site = hospital.night, hospital.site
    kinds = Counter(each.kind for each in night.studies)
    rules = Counter(said["rule"] for row in rows for said in row["reasons"])
    lanes = Counter(row["lane"] for row in rows)
    priors, minutes = sum(bool(each.prior) for each in night.studies), f"{took_s / 60:.1f}"
    read = [each for each in flags if each.result_s is not None]
    untold = [each.own_s for each in flags if each.result_s is None]
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}: {len(night.studies)} studies ({counted(kinds)}) and {priors} priors in",
        f"{minutes} minutes, {os.cpu_count()} cores with a load of {os.getloadavg()[1]:.1f}, no GPU.",
        "",
        f"At the end {len(rows)} studies wait ({counted(lanes)}): lane, score, reasons and place of each are those of",
        f"the independent scorer; {len(rules)} rules and orders spoke {sum(rules.values())} times.",
        "",
        f"| {len(flags)} STAT studies, from the last instance acknowledged, s | p50 | p95 | most |",
        "|---|--:|--:|--:|",
        _row("first flag acknowledged by the RIS", [each.first_s for each in flags]),
        _row(f"flag with the model's result, of {len(read)}", [each.result_s or 0.0 for each in read]),
        _row("of which the model", [each.model_s for each in read]),
        _row("of which everything else, 1 s of quiet time too", [each.own_s for each in read]),
        _row(f"flag by what others told, of {len(untold)} without a finding", untold),
        "",
        "| used by the node | |",
        "|---|--:|",
        *(f"| CPU of {room}, s a study | {cpu_s / len(night.studies):.2f} |" for room, cpu_s in cpu_by_room(site)),
        f"| most memory, proportional set size | {peak_mib:.0f} MiB |",
        f"| data folder | {size(site.data) / (1 << 20):.0f} MiB |",
        f"| of which the database | {size(site.data, 'matins.sqlite*') / (1 << 20):.0f} MiB |",
        f"| HL7 messages taken, and sent | {len(site.rows('SELECT 1 FROM hl7_message'))}, {len(hospital.ris.kept)} |",
        f"| FHIR requests | {len(hospital.records.asked)} |",
    ]
    return "\n".join(lines)


def counted(counts: Counter[str]) -> str:
    """A count and what of, each."""
    return ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))


def _row(what: str, values: Sequence[float]) -> str:
    middle = statistics.median(values) if values else 0.0
    most = max(values, default=0.0)
    return f"| {what} | {middle:.2f} | {percentile(values, 95) if values else 0.0:.2f} | {most:.2f} |"


def cpu_by_room(site: Site) -> list[tuple[str, float]]:
    """CPU seconds of each room with its children, those that have ended too."""
    found = []
    for room, pid in sorted(site.rooms().items()):
        room_process = psutil.Process(pid)
        used = sum(room_process.cpu_times()[:4])
        for child in room_process.children(recursive=True):
            with suppress(psutil.Error):
                used += sum(child.cpu_times()[:4])
        found.append((room, used))
    return found


def size(folder: Path, pattern: str = "**/*") -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def keep(archive: str, text: str) -> None:
    """Put the result of an archive into its part of the file; the other's stays."""
    parts = {}
    if _RESULTS.exists():
        for part in _RESULTS.read_text(encoding="utf-8").split("\n## ")[1:]:
            name, _, rest = part.partition("\n")
            parts[name] = rest.strip()
    parts[f"{archive.capitalize()} archive"] = text
    head = "# A night\n\n`.venv/bin/python benchmarks/night.py --archive embedded --write`; and `--archive orthanc`."
    _RESULTS.write_text("\n\n".join([head, *(f"## {name}\n\n{parts[name]}" for name in sorted(parts))]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
