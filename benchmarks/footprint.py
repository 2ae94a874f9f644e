"""What the listener holds in memory, idle, with callers, under attack and with a 4 GiB object; and how fast it is back.

.venv/bin/python benchmarks/footprint.py [--write] [--gib 4] [--instances 10000]

Proportional set size of the listener alone, MiB; the describing processes are counted apart.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.receivers import Running, matins  # noqa: E402
from benchmarks.sender import Association, Task, encoded  # noqa: E402

_RESULT = ROOT / "benchmarks" / "results" / "footprint.md"
_CALLERS = 16
_PIECE = 1 << 17
_ECHO = "1.2.840.10008.1.1"


def silent(port: int, stack: ExitStack) -> None:
    """200 connections that say nothing."""
    for _ in range(200):
        _connect(port, stack)


def half_pdus(port: int, stack: ExitStack) -> None:
    """200 connections with half an A-ASSOCIATE-RQ that claims 400 KB."""
    for _ in range(200):
        _try(_connect(port, stack), b"\x01\x00" + struct.pack(">I", 400_000) + bytes(100_000))


def long_pdu(port: int, stack: ExitStack) -> None:
    """A PDU of 4 GiB, 64 MiB of it sent, on a connection and on an association."""
    for association in (False, True):
        connection = _associated(port, stack) if association else _connect(port, stack)
        _try(connection, b"\x04\x00" + struct.pack(">I", 0xFFFFFFFE) + bytes(64 << 20))


def endless_command(port: int, stack: ExitStack) -> None:
    """200 MiB of command fragments without a last one."""
    connection = _associated(port, stack)
    _flood(connection, 0x01, 200 << 20)


def endless_data(port: int, stack: ExitStack) -> None:
    """400 MiB of data set fragments with no command before them."""
    connection = _associated(port, stack)
    _flood(connection, 0x00, 400 << 20)


ATTACKS: tuple[Callable[[int, ExitStack], None], ...] = (silent, half_pdus, long_pdu, endless_command, endless_data)


def large_object(port: int, gib: float) -> float:
    """Send one object of so many GiB and return the seconds to its acknowledgement."""
    content, uid = encoded("mr", (16, 16))
    head = content[: content.index(b"\xe0\x7f\x10\x00OW")]
    length = int(gib * (1 << 30)) - len(head) - 12
    length -= length % 2
    began_s = time.monotonic()
    with ExitStack() as stack:
        association = _association(port)
        stack.callback(association.socket.close)
        framed, _, _ = association.frame(head + b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", length), uid, last=False)
        for piece in framed:
            association.socket.sendall(piece)
        room = association.maximum - 6
        whole, rest = divmod(length, room)
        middle = _p_data(bytes(room), 0x00)
        for _ in range(whole):
            association.socket.sendall(middle)
        association.socket.sendall(_p_data(bytes(rest), 0x02))
        association.socket.settimeout(300)
        status = association.status()
    if status:
        raise RuntimeError(f"the large object was answered with 0x{status:04X}")
    return time.monotonic() - began_s


def echo_ms(port: int) -> float:
    """Milliseconds for an association, a C-ECHO and its answer."""
    from pynetdicom import AE

    entity = AE("SCANNER")
    began_s = time.monotonic()
    association = entity.associate("127.0.0.1", port, contexts=[_context()], ae_title="MATINS")
    if not association.is_established:
        raise RuntimeError("no association for the good peer")
    association.send_c_echo()
    taken_ms = 1000 * (time.monotonic() - began_s)
    association.release()
    return taken_ms


def restart_s(folder: Path, instances: int) -> tuple[float, int]:
    """Seconds from the start after kill -9 to the first C-ECHO answered, with so many instances stored."""
    running = Running(matins(), folder, keep=True)
    sent = 0
    while sent < instances:
        task = {"port": running.port, "called": "MATINS", "workload": "mr", "associations": 4, "seconds": 2.0}
        answer = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "sender.py")],
            input=json.dumps({**task, "run": sent}) + "\n", capture_output=True, text=True, check=True,
        )  # fmt: skip
        sent += int(json.loads(answer.stdout)["instances"])
    running.stop()
    again = Running(matins(), folder, port=running.port)
    answered_s = again.listens_after_s + echo_ms(again.port) / 1000
    again.stop()
    return answered_s, sent


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=3.9, help="size of the large object")
    parser.add_argument("--instances", type=int, default=10_000, help="how many are stored before the restart")
    parser.add_argument("--write", action="store_true", help=f"keep the result in {_RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    rows: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory(prefix="matins-footprint-") as name:
        running = Running(matins(), Path(name) / "r")
        time.sleep(2)
        idle = running.pss_mib()
        rows.append(("idle", f"{idle:.0f} MiB", "≤ 150"))
        associations = [_association(running.port) for _ in range(_CALLERS)]
        time.sleep(1)
        rows.append(("an association", f"{(running.pss_mib() - idle) / _CALLERS:.2f} MiB", "≤ 4"))
        for each in associations:
            each.release()
        set_up = sorted(_association(running.port, close=True).set_up_s for _ in range(50))
        rows.append(("association set-up, median of 50", f"{1000 * set_up[25]:.1f} ms", "≤ 10"))
        for attack in ATTACKS:
            running.begin()
            with ExitStack() as stack:
                attack(running.port, stack)
                slowest = max(echo_ms(running.port) for _ in range(5))
                time.sleep(1)
            peak = running.end().peak_mib
            doc = (attack.__doc__ or "").rstrip(".")
            rows.append((f"{doc}: growth", f"{peak - idle:+.0f} MiB", "≤ +50"))
            rows.append((f"{doc}: a good peer's C-ECHO", f"{slowest:.0f} ms", "≤ 1000"))
        running.begin()
        taken_s = large_object(running.port, given.gib)
        rows.append(
            (f"an object of {given.gib:g} GiB, {taken_s:.1f} s", f"{running.end().peak_mib - idle:+.0f} MiB", "≤ +100")
        )
        running.stop()
        back_s, stored = restart_s(Path(name) / "s", given.instances)
        rows.append((f"back after kill -9 with {stored} instances", f"{back_s:.2f} s", "≤ 3"))
    lines = ["# Footprint of the listener", "", "| what | measured | bound |", "|---|--:|--:|"]
    lines += [f"| {what} | {measured} | {bound} |" for what, measured, bound in rows]
    print("\n".join(lines))
    if given.write:
        _RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def _context() -> object:
    from pynetdicom import build_context

    return build_context(_ECHO)


def _association(port: int, *, close: bool = False) -> Association:
    made = Association(Task(port=port, called="MATINS", workload="mr", associations=1, seconds=0, run=1), 0, [])
    if close:
        made.release()
    return made


def _associated(port: int, stack: ExitStack) -> socket.socket:
    connection = _association(port).socket
    stack.callback(connection.close)
    return connection


def _connect(port: int, stack: ExitStack) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    stack.callback(connection.close)
    return connection


def _flood(connection: socket.socket, control: int, size: int) -> None:
    piece = bytes(_p_data(bytes(16_000), control))
    for _ in range(size // len(piece)):
        if not _try(connection, piece):
            return


def _try(connection: socket.socket, content: bytes) -> bool:
    """Send what the peer still takes."""
    try:
        connection.sendall(content)
    except OSError:
        return False
    return True


def _p_data(fragment: bytes, control: int) -> bytes:
    length = len(fragment) + 2
    return b"\x04\x00" + struct.pack(">II", length + 4, length) + bytes([1, control]) + fragment


if __name__ == "__main__":
    sys.exit(main())
