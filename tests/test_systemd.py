"""One unit a room, kept in a sandbox whose tightness is a number."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from node.supervisor import ROOMS
from tests.site import ROOT, end_with_us, free_port, wait_until

FOLDER = ROOT / "systemd"
NETWORKED = {"listen", "retrieve", "deliver", "web"}
#: systemd's exposure score times ten; an ordinary unit has 92.
EXPOSURE_LIMIT = 15


def directives(*files: Path) -> dict[str, list[str]]:
    """Every `Section.Key` with its values in order of reading, as systemd merges unit and drop-ins."""
    found: dict[str, list[str]] = {}
    for file in files:
        section = ""
        for line in file.read_text().splitlines():
            if re.fullmatch(r"\[\w+\]", line):
                section = line[1:-1]
            elif line and line[0] not in "#;":
                key, equals, value = line.partition("=")
                assert equals, f"{file}: neither section, comment nor directive: {line!r}"
                found.setdefault(f"{section}.{key}", []).append(value)
    return found


def unit(room: str) -> Path:
    return FOLDER / f"matins-{room}.service"


def merged(room: str) -> dict[str, list[str]]:
    drop_ins = [*FOLDER.glob("matins-.service.d/*.conf"), *FOLDER.glob(f"matins-{room}.service.d/*.conf")]
    return directives(unit(room), *sorted(drop_ins, key=lambda file: file.name))


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the sandbox was not scored")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


def test_every_room_has_a_unit_and_every_unit_a_room():
    assert {file.name for file in FOLDER.glob("*.service")} == {unit(room).name for room in ROOMS}


def test_the_target_starts_every_room():
    wanted = " ".join(directives(FOLDER / "matins.target")["Unit.Wants"]).split()
    assert sorted(wanted) == sorted(unit(room).name for room in ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_unit_starts_its_room_and_is_told_when_it_is_ready_and_alive(room: str):
    found = merged(room)
    (command,) = found["Service.ExecStart"]
    assert command.startswith(f"/opt/matins/.venv/bin/python -m node {room} --config ")
    assert found["Service.Type"] == ["notify"]
    assert found["Service.NotifyAccess"] == ["main"]
    assert int(found["Service.WatchdogSec"][-1]) > 0
    assert found["Service.Restart"] == ["on-failure"]
    assert found["Service.RestartPreventExitStatus"] == ["2"]
    assert found["Install.WantedBy"] == found["Unit.PartOf"] == ["matins.target"]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_no_privilege_and_writes_in_one_place(room: str):
    found = merged(room)
    assert found["Service.User"] == ["matins"]
    assert found["Service.CapabilityBoundingSet"] == [""]
    assert found["Service.NoNewPrivileges"] == ["true"]
    assert found["Service.ProtectSystem"] == ["strict"]
    assert found["Service.StateDirectory"] == ["matins"]
    assert found["Service.UMask"] == ["0077"]
    assert found["Service.LimitCORE"] == ["0"]
    assert "Service.ReadWritePaths" not in found


@pytest.mark.parametrize("room", ROOMS)
def test_only_rooms_that_speak_to_peers_have_a_network(room: str):
    (families,) = merged(room)["Service.RestrictAddressFamilies"]
    assert set(families.split()) == ({"AF_UNIX", "AF_INET", "AF_INET6"} if room in NETWORKED else {"AF_UNIX"})
    assert merged(room).get("Service.PrivateNetwork") == (None if room in NETWORKED else ["true"])


@pytest.mark.parametrize("room", ROOMS)
def test_the_boot_id_stays_readable(room: str):
    assert merged(room)["Service.ProcSubset"] == ["all"]


def test_the_listener_may_lower_describings_priority_and_gather_its_threads():
    assert set(merged("listen")["Service.SystemCallFilter"][2:]) == {"setpriority", "sched_setaffinity"}


def test_a_unit_says_nothing_that_the_shared_part_overrules():
    shared = directives(*FOLDER.glob("matins-.service.d/*.conf"))
    repeated = {room: sorted(set(directives(unit(room))) & set(shared)) for room in ROOMS}
    assert repeated == {room: [] for room in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_systemd_reads_the_unit_without_complaint(room: str):
    result = systemd_analyze("verify", "--man=no", str(unit(room)))
    complaints = [line for line in result.stderr.splitlines() if "/opt/matins/.venv/bin/python is not exec" not in line]
    assert [line for line in complaints if "matins" in line] == []


@pytest.mark.parametrize("room", ROOMS)
def test_the_sandbox_is_as_tight_as_promised(room: str):
    result = systemd_analyze(
        "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_LIMIT}", str(unit(room))
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Overall exposure level" in result.stdout


def test_a_plain_unit_would_not_pass(tmp_path: Path):
    plain = tmp_path / "plain.service"
    plain.write_text("[Service]\nExecStart=/bin/true\n")
    result = systemd_analyze("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_LIMIT}", str(plain))
    assert result.returncode != 0


def calls_in(group: str) -> set[str]:
    """Every system call of one of systemd's groups; a call's own name stands for itself."""
    if not group.startswith("@"):
        return {group}
    found: set[str] = set()
    for line in systemd_analyze("syscall-filter", group).stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= calls_in(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def allowed_calls(room: str) -> set[str]:
    allowed: set[str] = set()
    for value in merged(room)["Service.SystemCallFilter"]:
        groups = set().union(*(calls_in(group) for group in value.removeprefix("~").split()))
        allowed = allowed - groups if value.startswith("~") else allowed | groups
    return allowed


def traced_calls(room: str, folder: Path) -> set[str]:
    """Every system call of a room that starts, becomes ready and is asked to end."""
    settings = folder / "config.toml"
    settings.write_text(
        f"[node]\nport = {free_port()}\n[web]\nport = {free_port()}\n"
        f"[catalogue]\nmodels_folder = '{ROOT / 'models'}'\nrules_folder = '{ROOT / 'rules'}'\n"
    )
    trace = folder / "trace"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as herald:
        herald.bind(str(folder / "notify"))
        herald.setblocking(False)
        command = ["strace", "-f", "-qq", "-c", "-o", str(trace), sys.executable, "-m", "node", room]
        command += ["--config", str(settings), "--data", str(folder / "data")]
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}
        with subprocess.Popen(command, env=environment, preexec_fn=end_with_us) as traced:  # noqa: PLW1509

            def is_ready() -> bool:
                assert traced.poll() is None, f"{room} ended before it was ready"
                with suppress(BlockingIOError):
                    return b"READY=1" in herald.recv(4096)
                return False

            wait_until(f"{room} to be ready", is_ready, limit_s=90)
            (child, *_) = Path(f"/proc/{traced.pid}/task/{traced.pid}/children").read_text().split()
            os.kill(int(child), signal.SIGTERM)
            assert traced.wait(40) == 0
    return {line.split()[-1] for line in trace.read_text().splitlines() if re.match(r"\s*\d", line)} - {"total"}


@pytest.mark.interop
@pytest.mark.parametrize("room", ROOMS)
def test_a_room_makes_no_call_that_its_unit_forbids(room: str, tmp_path: Path):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: no room was traced")
    # SQLite keeps its files' owner only as root; OpenBLAS binds memory where it may, and goes on where not.
    harmless = {"fchown", "mbind"}
    made = traced_calls(room, tmp_path)
    assert {"openat", "sendto"} <= made, "the trace is empty"
    assert made - allowed_calls(room) - harmless == set()
