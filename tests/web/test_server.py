"""The web room as a process: ready when it answers, gone when asked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from node.errors import Misconfigured, Transient
from node.web.server import main
from tests import told
from tests.site import free_port

ROOT = Path(__file__).resolve().parents[2]


def test_it_says_that_it_is_ready_once_it_answers_and_ends_in_good_order(tmp_path: Path) -> None:
    port = free_port()
    config = told.write_config(tmp_path, web={"port": port})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(str(tmp_path / "notify"))
        notices.settimeout(60)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        command = [sys.executable, "-m", "node", "web", "--config", str(config)]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
            said = [notices.recv(1000).decode()]
            while "READY=1" not in said[-1]:
                said.append(notices.recv(1000).decode())
            assert f"STATUS=http://127.0.0.1:{port}/" in said[-1]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
                assert answer.status == 200
                assert "server" not in {name.lower() for name in answer.headers}
            assert notices.recv(1000) == b"WATCHDOG=1"
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def test_a_port_that_is_taken_is_tried_again_later(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        config = told.write_config(tmp_path, web={"port": other.getsockname()[1]})
        with pytest.raises(Transient, match="is taken"):
            run(config)


def test_an_address_of_another_machine_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"192\.0\.2\.1"):
        run(told.write_config(tmp_path, web={"address": "192.0.2.1"}))


def run(config: Path) -> None:
    from node.config import load_settings

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        main(load_settings(config))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
