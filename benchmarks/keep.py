"""What it costs to make an object durable: the journal beside a file each, without a network.

.venv/bin/python benchmarks/keep.py [--rounds 5] [--folder DIR]

Prints medians of interleaved rounds. `journal` appends to segments written ahead, `reserved` to segments whose blocks
are only reserved, `file` writes, syncs and names a file each; `unsynced` is the journal without its syncs.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.sender import encoded  # noqa: E402
from node.domain.time import SystemClock  # noqa: E402
from node.receive.arrival import arrival_of, head_of  # noqa: E402
from node.receive.header import walk  # noqa: E402
from node.receive.keeper import Keeper, Origin  # noqa: E402
from node.store.database import open_database  # noqa: E402
from node.store.spool import Spool  # noqa: E402

SYNTAX = "1.2.840.10008.1.2.1"
ORIGIN = Origin(source="SCANNER", sending_ae_title="SCANNER", receiving_ae_title="MATINS")
PIECE_BYTES = 128 << 10
WORKLOADS = {"mr": ((128, 128), 1500), "ct": ((512, 512), 300), "dx": ((4743, 4743), 12)}
WAYS = ("journal", "reserved", "file", "unsynced")


class Trial:
    """One way of keeping, in a folder of its own."""

    def __init__(self, folder: Path, way: str, content: bytes, uid: str) -> None:
        self._db = open_database(folder, "listen", sync_commits=False)
        self._spool = Spool(folder)
        self._keeper = Keeper(self._db, self._spool, SystemClock(), sync=way != "unsynced")
        self._content, self._uid, self._way = content, uid.encode(), way
        segments = self._keeper.open()
        if way in ("journal", "unsynced"):
            for _ in range(4):
                segments.prepare()

    def run(self, threads: int, count: int) -> tuple[float, float]:
        """Keep `count` objects; return objects a second, and milliseconds of CPU each with their rows."""
        keep = self._as_file if self._way == "file" else self._in_journal
        numbers = itertools.count(100_000_000)
        began_s, used_s = time.perf_counter(), _cpu_s()
        workers = [threading.Thread(target=_work, args=(keep, numbers, count // threads)) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        elapsed_s = time.perf_counter() - began_s
        self._keeper.settle()
        return count / elapsed_s, 1000 * (_cpu_s() - used_s) / count

    def close(self) -> None:
        """Let go of the folder."""
        self._keeper.close()
        self._db.close()

    def _numbered(self, number: int) -> memoryview:
        return memoryview(self._content.replace(self._uid, self._uid[:-9] + str(number).encode()))

    def _in_journal(self, number: int) -> None:
        content = self._numbered(number)
        incoming = self._keeper.receive(ORIGIN, transfer_syntax_uid=SYNTAX, maximum_bytes=1 << 30)
        for start in range(0, len(content), PIECE_BYTES):
            incoming.write(content[start : start + PIECE_BYTES])
        incoming.keep()

    def _as_file(self, number: int) -> None:
        content = self._numbered(number)
        arrival = arrival_of(walk(content, SYNTAX), ORIGIN, SYNTAX, len(content))
        self._spool.keep((head_of(arrival, ORIGIN), content), arrival.sop_instance_uid, f"{number:032x}")


def _work(keep: Callable[[int], None], numbers: itertools.count[int], count: int) -> None:
    for _ in range(count):
        keep(next(numbers))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    given = parser.parse_args()
    found: dict[tuple[str, int, str], list[tuple[float, float]]] = defaultdict(list)
    for _ in range(given.rounds):
        for (name, (shape, count)), threads, way in itertools.product(WORKLOADS.items(), (1, 8), WAYS):
            content, uid = encoded(name, shape)
            with tempfile.TemporaryDirectory(prefix="matins-keep-", dir=given.folder) as folder:
                trial = Trial(Path(folder) / "var", way, content, uid)
                found[name, threads, way].append(trial.run(threads, count - count % threads))
                trial.close()
    print("objects/s (CPU ms an object, row included; `file` has none)\n")
    print("| | n | " + " | ".join(WAYS) + " |\n|---|--:|" + "--:|" * len(WAYS))
    for name, threads in itertools.product(WORKLOADS, (1, 8)):
        cells = []
        for way in WAYS:
            rates, costs = zip(*found[name, threads, way], strict=True)
            cells.append(f"{statistics.median(rates):.0f} ({statistics.median(costs):.2f})")
        print(f"| {name} | {threads} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
