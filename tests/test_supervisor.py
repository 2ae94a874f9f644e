"""The supervisor, with rooms that are small scripts: they become ready, die, hang or refuse to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.domain.time import SystemClock
from node.errors import Misconfigured
from node.loop import Stop
from node.store import events
from node.store.database import open_database
from node.store.occupancy import is_occupied, occupied
from node.supervisor import ROOMS, Patience, Supervisor, room_commands
from node.workflow.standing import rooms

ROOT = Path(__file__).parents[1]

#: A room that says READY, then does what its argument says. It writes its number to a file named by its room.
ROOM = """
import os, signal, sys, time
from pathlib import Path
import sdnotify
mode, trace = sys.argv[1], Path(sys.argv[2])
with trace.open("a") as stream:
    stream.write(f"{os.getpid()}\\n")
starts = len(trace.read_text().split())
notify = sdnotify.SystemdNotifier().notify
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    # Not sys.exit: what a notification meets, its library swallows.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
if mode == "never-ready":
    time.sleep(600)
if mode == "dies-at-once":
    sys.exit(3)
notify("READY=1\\nSTATUS=works")
if mode == "dies" and starts == 1:
    sys.exit(3)
if mode == "killed" and starts == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if mode == "leaves-a-child" and starts == 1:
    child = os.fork()
    if child:
        with trace.with_suffix(".child").open("w") as stream:
            stream.write(str(child))
        sys.exit(1)
    time.sleep(600)
while True:
    if not (mode == "silent" and starts == 1):
        notify("WATCHDOG=1")
    time.sleep(0.05)
"""

QUICK = Patience(start_s=20, silence_s=1, drain_s=2, backoff_s=0.1, backoff_maximum_s=0.2)


class Night:
    """A supervisor in a thread, over fake rooms."""

    def __init__(self, folder: Path, modes: dict[str, str], patience: Patience = QUICK) -> None:
        script = folder / "room.py"
        script.write_text(ROOM)
        self.traces = {room: folder / f"{room}.trace" for room in modes}
        commands = {room: [sys.executable, str(script), mode, str(self.traces[room])] for room, mode in modes.items()}
        self.lines: list[str] = []
        self.stop = Stop()
        self.db = open_database(folder / "var", "serve")
        self.supervisor = Supervisor(commands, self.db, SystemClock(), self.lines.append, patience)
        self.thread = threading.Thread(target=self.supervisor.run, args=(self.stop,))
        self.thread.start()

    def starts(self, room: str) -> list[int]:
        trace = self.traces[room]
        return [int(line) for line in trace.read_text().split()] if trace.exists() else []

    def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(1500):
            if holds():
                return
            time.sleep(0.02)
        pytest.fail(f"never came true; the console says {self.lines}")

    def end(self) -> None:
        self.stop.set()
        self.thread.join()
        self.db.close()


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Callable[..., Night]]:
    nights: list[Night] = []

    def start(modes: dict[str, str], patience: Patience = QUICK) -> Night:
        nights.append(Night(tmp_path, modes, patience))
        return nights[-1]

    yield start
    for each in nights:
        each.end()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_each_room_is_announced_when_it_is_ready_and_then_all_of_them(night: Callable[..., Night]) -> None:
    one = night({"listen": "good", "web": "good"})
    one.until(lambda: "all rooms ready" in one.lines)
    assert sorted(one.lines[:2]) == ["listen ready: works", "web ready: works"]
    assert one.lines[2] == "all rooms ready"


def test_rooms_end_in_good_order_when_the_supervisor_is_asked_to_stop(night: Callable[..., Night]) -> None:
    one = night({"listen": "good", "web": "good"}, Patience(start_s=60, drain_s=60))
    one.until(lambda: "all rooms ready" in one.lines)
    pids = [pid for room in one.traces for pid in one.starts(room)]
    one.stop.set()
    one.thread.join()
    assert not any(is_running(pid) for pid in pids)
    assert {row["room"]: (row["state"], row["reason"]) for row in rooms(one.db)} == {
        "listen": ("stopped", "exit code 0"),
        "web": ("stopped", "exit code 0"),
    }


def test_a_room_that_dies_is_started_again_and_its_exit_code_is_told(night: Callable[..., Night]) -> None:
    one = night({"infer": "dies", "web": "good"})
    one.until(lambda: "all rooms ready" in one.lines and len(one.starts("infer")) == 2)
    assert "infer died (exit code 3); again in 0.1 s" in one.lines
    assert len(one.starts("web")) == 1


def test_a_room_that_is_killed_is_told_by_its_signal(night: Callable[..., Night]) -> None:
    one = night({"infer": "killed"})
    one.until(lambda: len(one.starts("infer")) == 2)
    assert "infer died (killed by SIGKILL); again in 0.1 s" in one.lines


def test_a_ready_room_that_goes_silent_is_killed_and_started_again(night: Callable[..., Night]) -> None:
    one = night({"report": "silent"})
    one.until(lambda: len(one.starts("report")) == 2)
    assert not is_running(one.starts("report")[0])
    assert any("silent for 1 s" in line for line in one.lines)


def test_a_room_that_never_becomes_ready_is_killed_and_started_again(night: Callable[..., Night]) -> None:
    one = night({"infer": "never-ready"}, Patience(start_s=1, drain_s=1, backoff_s=0.1))
    one.until(lambda: len(one.starts("infer")) >= 2)
    assert any("not ready after 1 s" in line for line in one.lines)
    assert "all rooms ready" not in one.lines


def test_the_door_is_opened_before_the_other_rooms_are_started(night: Callable[..., Night]) -> None:
    one = night({"listen": "works", "web": "works"})
    one.until(lambda: "all rooms ready" in one.lines)
    moves = [(row["subject"], row["after"]) for row in one.db.rows("SELECT * FROM event ORDER BY id")]
    assert moves.index(("listen", "ready")) < moves.index(("web", "starting"))


@pytest.mark.parametrize("mode", ["never-ready", "dies-at-once"])
def test_a_door_that_does_not_open_holds_up_no_other_room_for_long(night: Callable[..., Night], mode: str) -> None:
    patience = Patience(head_start_s=0.3 if mode == "never-ready" else 60, drain_s=2, backoff_s=0.1)
    one = night({"listen": mode, "web": "works"}, patience)
    one.until(lambda: "web ready: works" in one.lines)
    assert "listen ready: works" not in one.lines


def test_what_a_dead_room_leaves_behind_is_ended_with_it(night: Callable[..., Night]) -> None:
    one = night({"infer": "leaves-a-child"})
    one.until(lambda: len(one.starts("infer")) == 2)
    child = int(one.traces["infer"].with_suffix(".child").read_text())
    one.until(lambda: not is_running(child))


def test_a_room_that_does_not_end_is_killed_when_the_time_is_up(night: Callable[..., Night]) -> None:
    one = night({"deliver": "stubborn"}, Patience(drain_s=0.5))
    one.until(lambda: "all rooms ready" in one.lines)
    pid = one.starts("deliver")[0]
    one.stop.set()
    one.thread.join()
    assert not is_running(pid)
    assert any(row["reason"].endswith("killed by SIGKILL") for row in rooms(one.db))


def test_a_room_whose_program_is_missing_does_not_end_the_others(tmp_path: Path) -> None:
    db, lines, stop = open_database(tmp_path / "var", "serve"), [], Stop()
    commands = {"web": [str(tmp_path / "nothing")]}
    supervisor = Supervisor(commands, db, SystemClock(), lines.append, QUICK)
    thread = threading.Thread(target=supervisor.run, args=(stop,))
    thread.start()
    while not any("cannot be started" in line for line in lines):
        time.sleep(0.02)
    stop.set()
    thread.join()
    db.close()


def test_nobody_else_can_speak_for_a_room(night: Callable[..., Night]) -> None:
    import socket

    one = night({"infer": "never-ready"})
    one.until(lambda: len(one.starts("infer")) == 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"READY=1", "\0" + one.supervisor._address[1:])
    time.sleep(0.5)
    assert one.lines == []


def test_every_move_of_a_room_is_an_event(night: Callable[..., Night]) -> None:
    one = night({"clock": "dies"})
    one.until(lambda: "all rooms ready" in one.lines and len(one.starts("clock")) == 2)
    one.stop.set()
    one.thread.join()
    moves = [event.after for event in reversed(events.latest(one.db, "room"))]
    assert moves == ["starting", "ready", "dead", "starting", "ready", "stopped"]


def test_a_data_folder_is_served_by_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    with occupied(folder):
        assert is_occupied(folder)
        with pytest.raises(Misconfigured, match=f"process {os.getpid()}.*--data"), occupied(folder):
            pass
    assert not is_occupied(folder)
    with occupied(folder):
        pass


def test_each_room_gets_the_same_settings() -> None:
    commands = room_commands(Path("/x/config.toml"), Path("/x/var"), 3.0)
    assert tuple(commands) == ROOMS
    for room, command in commands.items():
        assert command[1:4] == ["-m", "node", room]
        assert command[4:] == ["--config", "/x/config.toml", "--data", "/x/var", "--quiet", "3.0"]


def read_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if wanted in line:
            return lines
    pytest.fail(f"{wanted!r} never came: {lines}")


SERVE = """
import sys
from pathlib import Path
from node import supervisor
config, data, script, trace = sys.argv[1:5]
commands = {"web": [sys.executable, script, sys.argv[5], trace]}
say = lambda line: print(line, flush=True)
sys.exit(supervisor.serve(Path(config), Path(data), None, say, commands=commands))
"""


def start_serve(folder: Path, mode: str = "good") -> subprocess.Popen[str]:
    (folder / "room.py").write_text(ROOM)
    arguments = [ROOT / "config.toml", folder / "var", folder / "room.py", folder / "web.trace", mode]
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_serve_drains_on_sigterm_and_ends_with_code_0(tmp_path: Path) -> None:
    with start_serve(tmp_path) as process:
        read_until(process, "all rooms ready")
        assert is_occupied(tmp_path / "var")
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert not is_occupied(tmp_path / "var")
    assert not is_running(int((tmp_path / "web.trace").read_text()))


def matins(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "node", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_a_second_serve_on_the_same_data_folder_is_refused(tmp_path: Path) -> None:
    with occupied(tmp_path / "var"):
        said = matins("serve", "--config", str(ROOT / "config.toml"), "--data", str(tmp_path / "var"))
    assert said.returncode == 2
    assert "another `matins serve`" in said.stderr


def test_bad_settings_end_serve_before_any_room_is_started(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[nod]\nport = 1\n")
    said = matins("serve", "--config", str(tmp_path / "config.toml"))
    assert said.returncode == 2
    assert "config.toml: nod: unknown key" in said.stderr


ROOM_UNDER_A_DOOR = """
import sys, threading
from node.commands import room
room.ENTRANCES["web"] = "fake_web"
sys.exit(room.main(sys.argv[1:]))
"""
FAKE_WEB = """
import os
from pathlib import Path
from node.loop import stop_on_signals, Herald
def main(settings):
    Path(__file__).with_name("pid").write_text(str(os.getpid()))
    stop = stop_on_signals()
    Herald().ready("fake")
    stop.wait(600)
    return 0
"""


def test_a_room_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    (tmp_path / "fake_web.py").write_text(FAKE_WEB)
    (tmp_path / "door.py").write_text(ROOM_UNDER_A_DOOR)
    options = ["web", "--config", str(ROOT / "config.toml"), "--data", str(tmp_path / "var")]
    program = (
        "import sys; from pathlib import Path; from node import supervisor;"
        "say = lambda line: print(line, flush=True);"
        f"commands = {{'web': [sys.executable, {str(tmp_path / 'door.py')!r}, *{options!r}]}};"
        f"supervisor.serve(Path({str(ROOT / 'config.toml')!r}), Path({str(tmp_path / 'var')!r}), None, say,"
        " commands=commands)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        read_until(process, "all rooms ready")
        room = int((tmp_path / "pid").read_text())
        process.kill()
        process.wait()
        for _ in range(500):
            if not is_running(room):
                return
            time.sleep(0.02)
    os.kill(room, signal.SIGKILL)
    pytest.fail("the room outlived its supervisor")
