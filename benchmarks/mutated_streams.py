"""Thousands of spoiled associations against a whole listener: does it die, go deaf or grow?

.venv/bin/python benchmarks/mutated_streams.py [--streams 20000] [--seed 1] [--connections 6] [--write]

Recordings of good peers (C-STORE in four encodings and of a large object, C-ECHO, MPPS) with one to four seeded faults
each: flipped bits, lying lengths, cuts, other orders, doubles, splices. Meanwhile a good peer asks for C-ECHO every
half second, each time over a new association. One in fifty streams is left open without its end, until the listener
ends it.
"""

from __future__ import annotations

import argparse
import random
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.receivers import Running, matins  # noqa: E402
from tests.receive.mutation import ECHO_CONTEXT, RELEASE_RQ, large_recording, recordings, request, spoiled  # noqa: E402
from tests.receive.peer import echo_command, p_data, pdu_from  # noqa: E402

_RESULT = ROOT / "benchmarks" / "results" / "mutated_streams.md"
_TITLE = "SCANNER"
_ECHO_EVERY_S = 0.5
#: Longer than the listener lets anybody idle.
_PATIENCE_S = 75.0
#: Streams after which the size of the listener is that of one at work.
_WARM = 500


@dataclass
class Seen:
    """What the senders and the good peer saw."""

    #: How streams ended: the type of the last PDU that came back, or that the listener did not answer in time.
    ends: Counter[str] = field(default_factory=Counter)
    echo_ms: list[float] = field(default_factory=list)
    deaf: list[str] = field(default_factory=list)


class Senders:
    """Several connections at once, and the good peer beside them."""

    def __init__(self, port: int, connections: int, seed: int) -> None:
        self.seen = Seen()
        self._port = port
        self._connections = connections
        self._seed = seed
        self._good = [*recordings(_TITLE), large_recording(_TITLE)]
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._next = 0

    def send(self, until: int) -> None:
        """Send all streams below number `until`; each is made of the seed and its number alone."""
        senders = [threading.Thread(target=self._work, args=(until,)) for _ in range(self._connections)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()

    def listen(self) -> threading.Thread:
        """Start the good peer."""
        thread = threading.Thread(target=self._echo_again_and_again)
        thread.start()
        return thread

    def end(self) -> None:
        """End the good peer."""
        self._over.set()

    def _work(self, until: int) -> None:
        while True:
            with self._lock:
                number = self._next
                if number >= until:
                    return
                self._next += 1
            chance = random.Random(f"{self._seed}:{number}")
            stream = spoiled(self._good[number % len(self._good)], self._good, chance)
            end = self._one(stream, left_open=chance.random() < 0.02)
            with self._lock:
                self.seen.ends[end] += 1

    def _one(self, stream: bytes, *, left_open: bool) -> str:
        last = 0
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=_PATIENCE_S) as connection:
                connection.sendall(stream)
                if not left_open:
                    connection.shutdown(socket.SHUT_WR)
                while kind := pdu_from(connection)[0]:
                    last = kind
        except TimeoutError:
            return "no end"
        except OSError:
            return "reset"
        return {0: "closed", 2: "A-ASSOCIATE-AC", 3: "A-ASSOCIATE-RJ", 4: "P-DATA-TF", 6: "A-RELEASE-RP"}.get(
            last, "A-ABORT"
        )

    def _echo_again_and_again(self) -> None:
        while not self._over.wait(_ECHO_EVERY_S):
            began_s = time.monotonic()
            try:
                answered = self._echo()
            except OSError as error:
                self.seen.deaf.append(str(error))
                continue
            self.seen.echo_ms.append(1000 * (time.monotonic() - began_s))
            if not answered:
                self.seen.deaf.append("no answer")

    def _echo(self) -> bool:
        with socket.create_connection(("127.0.0.1", self._port), timeout=_PATIENCE_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(request(_TITLE))
            if pdu_from(connection)[0] != 2:
                return False
            connection.sendall(p_data(ECHO_CONTEXT, 3, echo_command()))
            answered = pdu_from(connection)[0] == 4
            connection.sendall(RELEASE_RQ)
            return answered and pdu_from(connection)[0] == 6


def main() -> int:
    """Run the streams and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connections", type=int, default=6, help="streams at once")
    parser.add_argument("--write", action="store_true", help=f"keep the result in {_RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="matins-streams-") as name:
        folder = Path(name) / "r"
        running = Running(matins(), folder, keep=True)
        try:
            time.sleep(2)
            senders = Senders(running.port, given.connections, given.seed)
            senders.send(min(_WARM, given.streams))
            time.sleep(2)
            before_mib = running.pss_mib()
            good_peer = senders.listen()
            running.begin()
            began_s = time.monotonic()
            senders.send(given.streams)
            taken_s = time.monotonic() - began_s
            peak_mib = running.end().peak_mib
            senders.end()
            good_peer.join()
            time.sleep(2)
            after_mib = running.pss_mib()
            deaths = int(after_mib == 0.0)
        finally:
            running.stop()
        written = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
    seen = senders.seen
    unexpected = Counter(re.findall(r"^(\w+(?:\.\w+)*(?:Error|Exception)): ", written, re.MULTILINE))
    echo_ms = sorted(seen.echo_ms) or [0.0]
    rows = [
        ("streams, in how many seconds", f"{given.streams}, {taken_s:.0f} s", ""),
        ("deaths of the listener", str(deaths), "0"),
        ("errors that nobody expected", str(sum(unexpected.values())), "0"),
        ("deaths of the describing process", str(written.count("describing_died")), "0"),
        ("C-ECHO of the good peer: asked", str(len(seen.echo_ms)), ""),
        ("… without an answer", str(len(seen.deaf)), "0"),
        ("… longest, with its association", f"{echo_ms[-1]:.0f} ms", "≤ 1000 ms"),
        ("… median", f"{echo_ms[len(echo_ms) // 2]:.0f} ms", ""),
        (f"PSS after {_WARM} streams, peak, at the end", f"{before_mib:.1f}, {peak_mib:.1f}, {after_mib:.1f} MiB", ""),
        ("growth to the peak", f"{peak_mib - before_mib:+.1f} MiB", "≤ +20 MiB"),
        *((f"ended by: {end}", str(count), "") for end, count in seen.ends.most_common()),
    ]
    lines = [
        f"# {given.streams} spoiled streams, seed {given.seed}",
        "",
        "| what | measured | bound |",
        "|---|--:|--:|",
    ]
    lines += [f"| {what} | {measured} | {bound} |" for what, measured, bound in rows]
    print("\n".join(lines))
    for what in (*unexpected, *sorted(set(seen.deaf))):
        print(f"! {what}")
    if given.write:
        _RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sound = not deaths and not unexpected and not seen.deaf and not seen.ends["no end"]
    return 0 if sound and echo_ms[-1] <= 1000 and peak_mib - before_mib <= 20 else 1


if __name__ == "__main__":
    sys.exit(main())
