"""The receivers that are measured side by side: how each is started, what it costs, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
_SAMPLE_S = 0.1
#: How long a receiver is left alone once it listens.
_SETTLE_S = 0.5
#: It rests when it has used no more than such a share of one processor for so long.
_RESTING, _REST_S = 0.1, 0.25
#: [receive] journal_ready_bytes as it is shipped.
_READY_BYTES = 512 << 20
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Receiver:
    """One program that stores what it is sent."""

    name: str
    #: Called AE title.
    title: str
    #: (folder, port) -> command line.
    command: Callable[[Path, int], list[str]]
    #: Words in the command line of children that are counted apart.
    apart: tuple[str, ...] = ()
    #: It takes one association at a time; others wait outside.
    one_at_a_time: bool = False
    #: Whether what it prepares at its start, in this folder, is done.
    is_prepared: Callable[[Path], bool] = lambda _folder: True


@dataclass(frozen=True)
class Cost:
    """What a receiver used while it was sent to."""

    cpu_s: float
    #: CPU of the children that are counted apart.
    apart_cpu_s: float
    #: Highest proportional set size of receiver and children, those apart left out, MiB.
    peak_mib: float


def matins(*, sync: bool = True) -> Receiver:
    """Our own listener, as it is shipped but for its folder, port and one peer."""

    def command(folder: Path, port: int) -> list[str]:
        settings = (ROOT / "config.toml").read_text(encoding="utf-8")
        settings = settings.replace("port = 11112", f"port = {port}").replace(
            'folder = "var"', f'folder = "{folder}/var"'
        )
        for what in ("models", "rules"):
            settings = settings.replace(f'{what}_folder = "{what}"', f'{what}_folder = "{ROOT / what}"')
        settings += (
            '\n[[peers]]\nname = "scanner"\nae_title = "SCANNER"\naddresses = ["127.0.0.1/32"]\nroles = ["source"]\n'
        )
        (folder / "config.toml").write_text(settings, encoding="utf-8")
        start = (
            "import sys; from pathlib import Path; from node import log; from node.config import load_settings;"
            " from node.receive import listener; log.configure('listen');"
            f" sys.exit(listener.main(load_settings(Path({str(folder / 'config.toml')!r})), sync={sync}))"
        )
        return [sys.executable, "-c", start]

    def is_prepared(folder: Path) -> bool:
        spares = (folder / "var" / "spool" / "journal").glob("spare-*")
        return sum(spare.stat().st_size for spare in spares) >= _READY_BYTES

    name = "Matins" if sync else "Matins, no syncs"
    return Receiver(name, "MATINS", command, apart=("node.receive.describe",), is_prepared=is_prepared)


def storescp(*options: str) -> Receiver:
    """DCMTK's; it syncs nothing."""

    def command(folder: Path, port: int) -> list[str]:
        return ["storescp", *options, "--output-directory", str(folder), str(port)]

    return Receiver(" ".join(("storescp", *options)), "STORESCP", command, one_at_a_time="--fork" not in options)


def orthanc() -> Receiver:
    """Orthanc as it comes, but for its folder and port; it listens on every address: run inside `unshare --net`."""

    def command(folder: Path, port: int) -> list[str]:
        file = folder / "orthanc.json"
        settings = {
            "StorageDirectory": str(folder / "storage"),
            "DicomPort": port,
            "HttpServerEnabled": False,
            "DicomAet": "ORTHANC",
        }
        file.write_text(json.dumps(settings), encoding="utf-8")
        return ["Orthanc", str(file)]

    return Receiver("Orthanc", "ORTHANC", command)


def pynetdicom() -> Receiver:
    """The stock acceptor."""

    def command(folder: Path, port: int) -> list[str]:
        return [sys.executable, "-m", "pynetdicom", "storescp", str(port), "-od", str(folder), "-q", "-ba", "127.0.0.1"]

    return Receiver("pynetdicom storescp", "STORESCP", command)


class Running:
    """A receiver at work in an empty folder."""

    def __init__(self, receiver: Receiver, folder: Path, *, port: int = 0, keep: bool = False) -> None:
        """Start it; with `keep` its folder stays for the next one."""
        self._receiver = receiver
        self._folder = folder
        self._keep = keep
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = port or int(probe.getsockname()[1])
        began_s = time.monotonic()
        with (folder / "output.txt").open("wb") as output:
            self._process = subprocess.Popen(
                receiver.command(folder, self.port), stdout=output, stderr=output, cwd=ROOT, start_new_session=True
            )
        self._wait_until_it_listens()
        #: Seconds from its start to the first connection taken.
        self.listens_after_s = time.monotonic() - began_s
        time.sleep(_SETTLE_S)
        for _ in range(200):
            if receiver.is_prepared(folder):
                break
            time.sleep(0.1)
        self._top = psutil.Process(self._process.pid)
        self._peak = 0.0
        self._before = (0.0, 0.0)
        self._sampling = threading.Event()
        self._wait_until_it_rests()

    def begin(self) -> None:
        """Count from here."""
        self._before = self._cpu()
        self._peak = 0.0
        self._sampling.clear()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    def end(self) -> Cost:
        """What was used since `begin`."""
        self._sampling.set()
        self._sampler.join()
        after = self._cpu()
        return Cost(after[0] - self._before[0], after[1] - self._before[1], self._peak)

    def pss_mib(self) -> float:
        """Proportional set size now, of receiver and children, those apart left out."""
        total = 0.0
        for process in [self._top, *self._below()]:
            try:
                if not self._is_apart(process):
                    total += _pss_mib(process.pid)
            except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                continue
        return total

    def stop(self) -> None:
        """End it and everything below it, and leave no dirty page to the next."""
        for process in [*self._below(), self._top]:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        self._process.wait()
        if not self._keep:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.sync()

    def _wait_until_it_listens(self) -> None:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if self._process.poll() is not None:
                    raise RuntimeError((self._folder / "output.txt").read_text(errors="replace")[-2000:]) from None
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"{self._receiver.name} does not listen")

    def _wait_until_it_rests(self) -> None:
        """What it still does to get ready is not what it costs to receive."""
        used_s = sum(self._cpu())
        for _ in range(80):
            time.sleep(_REST_S)
            before_s, used_s = used_s, sum(self._cpu())
            if used_s - before_s <= _RESTING * _REST_S:
                return

    def _below(self) -> list[psutil.Process]:
        try:
            return self._top.children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def _is_apart(self, process: psutil.Process) -> bool:
        line = " ".join(process.cmdline())
        return any(word in line for word in self._receiver.apart)

    def _cpu(self) -> tuple[float, float]:
        """CPU seconds of the receiver with ended children, and of what is counted apart."""
        own, apart = _used(self._top.pid), 0.0
        for process in self._below():
            try:
                if self._is_apart(process):
                    apart += _used(process.pid)
                else:
                    own += _used(process.pid)
            except (psutil.NoSuchProcess, FileNotFoundError):
                continue
        return own, apart

    def _sample(self) -> None:
        while not self._sampling.wait(_SAMPLE_S):
            self._peak = max(self._peak, self.pss_mib())


def _used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return sum(int(each) for each in fields[11:15]) * _TICK_S


def _pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
