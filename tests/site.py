"""A whole site on the loopback address: the node as a user starts it, archives, and senders."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from node.cli import app
from node.demo.sender import Address, Answer, send
from node.store import instances
from node.store.database import open_database
from node.workflow.story import study_story

ROOT = Path(__file__).resolve().parents[1]


def end_with_us() -> None:
    """In a child before exec: it gets SIGTERM when the test run ends, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


#: Below those that Linux gives to whoever calls: such a call could take a port between two starts of its server.
_FIRST_PORT, _PORTS = 20_000, 3_000
#: Tests that run side by side have ports of their own.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_numbers = itertools.count(secrets.randbelow(_PORTS))


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    while True:
        port = _FIRST_PORT + _WORKER * _PORTS + next(_numbers) % _PORTS
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(what: str, check: Callable[[], Any], *, limit_s: float = 120.0) -> Any:
    """Ask again until the answer is truthy, and return it; fail loudly after the limit."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {limit_s:g} s for {what}")


@dataclass
class ArchiveProcess:
    """The demo's archive in a process of its own."""

    folder: Path
    port: int = field(default_factory=free_port)
    forward_to: str = ""
    #: Where a C-MOVE may send, each `HOST:PORT:AE`.
    knows: Sequence[str] = ()
    process: subprocess.Popen[str] | None = None

    def start(self) -> ArchiveProcess:
        self.folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "node.demo.archive", "--port", str(self.port), "--folder", str(self.folder)]
        if self.forward_to:
            command += ["--forward-to", self.forward_to]
        for each in self.knows:
            command += ["--knows", each]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=end_with_us)  # noqa: PLW1509
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready"), line
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def objects(self) -> list[Path]:
        return sorted(self.folder.rglob("*.dcm"))


class Site:
    """The node in a folder of its own, with the peers that a test names."""

    def __init__(
        self, folder: Path, *, quiet_s: float = 1.0, models: Path | None = None, model: str = "brain-t1"
    ) -> None:
        self.folder = folder
        self.port, self.web_port = free_port(), free_port()
        self.quiet_s = quiet_s
        self.models = models or ROOT / "models"
        self.model = model
        #: "off" where nothing is read: to load PyTorch takes half of the time in which a node starts.
        self.mode = "live"
        #: The studies that tests send were made years ago.
        self.max_age_days = 0
        #: Further lines of [completeness.default] and of the model's section.
        self.completeness = ""
        self.model_settings = ""
        self.peers: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "serve.log"

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port, "MATINS")

    @property
    def data(self) -> Path:
        return self.folder / "var"

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def peer(self, name: str, *, port: int | None = None, roles: Sequence[str] = (), **settings: object) -> None:
        """Add a peer whose AE title is its name."""
        lines = ["[[peers]]", f'name = "{name}"', f'ae_title = "{name}"', f"roles = {json.dumps(list(roles))}"]
        if port is not None:
            lines += ['host = "127.0.0.1"', f"port = {port}"]
        if "destination" in roles and "confirm" not in settings:
            # What was sent stays "sent" while a test looks.
            settings = {**settings, "confirm": "none"}
        if "source" in roles:
            lines.append('addresses = ["127.0.0.0/8"]')
        lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        self.peers.append("\n".join(lines))

    def write_config(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.config.write_text(
            f"[node]\nport = {self.port}\n[web]\nport = {self.web_port}\n[data]\nminimum_free_percent = 1\n"
            f'[catalogue]\nmodels_folder = "{self.models}"\nrules_folder = "{ROOT / "rules"}"\n'
            "[receive]\njournal_ready_bytes = 67108864\n"
            f"[deliver]\nbackoff_s = 0.5\nbackoff_maximum_s = 2\n"
            f"[completeness.default]\nmax_age_days = {self.max_age_days}\n{self.completeness}\n"
            f'[models.{self.model}]\nmode = "{self.mode}"\n{self.model_settings}\n' + "\n".join(self.peers)
        )

    def start(self, *, wrap: Sequence[str] = ()) -> None:
        self.write_config()
        command = [*wrap, sys.executable, "-m", "node", "serve", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--quiet", str(self.quiet_s)],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                preexec_fn=end_with_us,  # noqa: PLW1509
            )
        self.wait_ready()

    def wait_ready(self) -> None:
        seen = self.log.read_bytes().count(b"all rooms ready") if self.log.exists() else 0

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            return self.log.read_bytes().count(b"all rooms ready") > seen

        wait_until("all rooms ready", ready, limit_s=240)

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(60)
        self.process = None
        return code

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `matins` on this site."""
        command = [sys.executable, "-m", "node", *arguments, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """As `run`, without a process of its own, which would take a second to load."""
        done = CliRunner().invoke(app, [*arguments, "--config", str(self.config)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return subprocess.CompletedProcess([*arguments], done.exit_code, done.stdout, done.stderr)

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def told(self, study: str) -> Any:
        """What `matins show --json` tells of a study, which takes a second to load; `None` where none is held."""
        with closing(open_database(self.data, "test")) as db:
            return json.loads(json.dumps(study_story(db, study)))

    def story(self, study: str) -> Any:
        """As `told`, of a study that is held."""
        found = self.told(study)
        assert found is not None, f"no study {study} is held"
        return found

    def uids(self) -> set[str]:
        """SOP Instance UIDs of what is held, as `matins instances --uids` lists them."""
        with closing(open_database(self.data, "test")) as db:
            return {each.sop_instance_uid for each in instances.of_study(db)}

    def send(self, files: Sequence[Path], *, calling: str) -> list[Answer]:
        return send(files, self.address, calling_ae_title=calling)

    def rooms(self) -> dict[str, int]:
        """Process ids of the rooms that run."""
        assert self.process is not None
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _parent(entry) == self.process.pid:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"node" in words:
                    found[words[words.index(b"node") + 1].decode()] = int(entry.name)
        return found


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


@contextmanager
def running(site: Site, *archives: ArchiveProcess) -> Iterator[Site]:
    """Start the archives and the node, and end them all."""
    try:
        for archive in archives:
            archive.start()
        site.start()
        yield site
    finally:
        site.stop()
        for archive in archives:
            archive.stop()
