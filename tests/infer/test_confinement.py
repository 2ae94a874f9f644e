from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT

TRIAL = """
import os, socket, sys
from pathlib import Path
from node.infer.confinement import confine
folder = Path(sys.argv[1])
print(confine(folder))
print(os.getuid(), os.getgid())
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=5).close()
    print("connected")
except OSError as error:
    print(type(error).__name__)
try:
    (folder / "net.pt").write_bytes(b"other")
    print("written")
except OSError as error:
    print(os.strerror(error.errno))
(folder.parent / "mask").write_text("made")
"""


def test_a_model_process_has_no_network_and_cannot_change_its_model(tmp_path: Path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "net.pt").write_bytes(b"weights")
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(TRIAL), str(folder), str(server.getsockname()[1])],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    told, who, network, written = done.stdout.splitlines()
    if told != "no network, its model read-only":
        pytest.skip(f"this machine permits no confinement: {told}")
    assert who == f"{os.getuid()} {os.getgid()}"
    assert network != "connected"
    assert written == "Read-only file system"
    assert (folder / "net.pt").read_bytes() == b"weights"
    assert (tmp_path / "mask").read_text() == "made"
