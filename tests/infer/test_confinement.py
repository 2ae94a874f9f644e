from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from node.infer import model_process
from node.store import artifacts
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


IN_A_NODE = """
import os, sys
from pathlib import Path
from node.infer.confinement import confine
data = Path(sys.argv[1])
os.chdir(data)
print(confine(data / "models", data, data / "masks"))
import torch

made = torch.jit.CompilationUnit('''
def write(place: str) -> Tensor:
    return torch.from_file(place, True, 8, dtype=torch.uint8).fill_(7)
''')
for place in (data / "models.lock", Path("engines/evidence.json"), data / "incoming/new", data / "masks/made"):
    try:
        made.write(str(place))
        print("written")
    except RuntimeError as error:
        print("refused")
"""


def test_what_a_model_is_scripted_to_write_cannot_be_the_node_s_own_data(tmp_path: Path):
    for each in ("models", "masks", "engines", "incoming"):
        (tmp_path / each).mkdir()
    for each in ("models.lock", "engines/evidence.json"):
        (tmp_path / each).write_bytes(b"12345678")
    done = subprocess.run(
        [sys.executable, "-c", IN_A_NODE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    told, *written = done.stdout.splitlines()
    if told != "no network, its model and the node's data read-only, but for its results":
        pytest.skip(f"this machine permits no confinement: {told}")
    assert written == ["refused", "refused", "refused", "written"], done.stderr
    assert (tmp_path / "models.lock").read_bytes() == b"12345678"
    assert (tmp_path / "masks" / "made").read_bytes() == b"\7" * 8


def test_the_folder_of_results_is_the_one_that_masks_are_kept_in():
    assert model_process.RESULTS == artifacts.MASKS
