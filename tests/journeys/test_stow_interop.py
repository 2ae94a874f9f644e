"""Foreign programs store over HTTP: Orthanc's DICOMweb client, and curl."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orthanc import Orthanc
from tests.receive.intakes.test_stow_room import HttpRoom
from tests.receive.objects import mr_slice, part10
from tests.receive.stow.bodies import STORED, TOKEN, TYPE, body
from tests.receive.test_listener import described, wait_for

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]
# Orthanc's DICOM port listens on every address there is.
if [name for _, name in socket.if_nameindex()] != ["lo"]:
    pytest.skip("runs in a network of its own: unshare --net, with lo up", allow_module_level=True)
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[HttpRoom]:
    made = HttpRoom(tmp_path)
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGTERM)
    made.notices.close()


def web(orthanc: Orthanc, path: str, content: bytes) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{orthanc.web}/{path}", content, timeout=120) as answer:
        return json.load(answer)


@pytest.mark.skipif(not PLUGIN.exists(), reason="not installed: Orthanc's DICOMweb (Debian: orthanc-dicomweb)")
@pytest.mark.parametrize("chunked", [True, False])
def test_orthanc_stores_a_study_and_believes_the_answer(room: HttpRoom, tmp_path: Path, chunked: bool) -> None:
    orthanc = Orthanc(tmp_path / "orthanc", room)  # type: ignore[arg-type]
    server = {
        "Url": f"http://127.0.0.1:{room.http_port}/",
        "HttpHeaders": {"Authorization": f"Bearer {TOKEN}"},
        "ChunkedTransfers": chunked,
    }
    orthanc.settings |= {"Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Servers": {"matins": server}}}
    with orthanc.running():
        for number in range(1, 41):
            web(orthanc, "instances", part10(mr_slice(number)))
        with urllib.request.urlopen(f"http://127.0.0.1:{orthanc.web}/studies", timeout=30) as answer:
            studies = json.load(answer)
        job = json.dumps({"Resources": studies, "Synchronous": True}).encode()
        # It answers with an error where the module in our answer is not as it should be, or counts fewer instances.
        web(orthanc, "dicom-web/servers/matins/stow", job)
    wait_for(lambda: len(described(room)) == 40)
    assert {each.source for each in described(room)} == {"SCANNER"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="not installed: curl")
@pytest.mark.parametrize("way", [["--data-binary", "@body"], ["--request", "POST", "--upload-file", "-"]])
def test_curl_stores_with_a_length_and_in_chunks(room: HttpRoom, tmp_path: Path, way: list[str]) -> None:
    (tmp_path / "body").write_bytes(body([part10(mr_slice(number)) for number in range(1, 601)]))
    url = f"http://localhost:{room.http_port}/studies"
    headers = [f"Content-Type: {TYPE}", f"Authorization: Bearer {TOKEN}", "Accept: application/dicom+json"]
    command = ["curl", "--silent", "--fail", *way, *(part for each in headers for part in ("--header", each)), url]
    with (tmp_path / "body").open("rb") as content:
        done = subprocess.run(command, cwd=tmp_path, stdin=content, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)[STORED]["Value"]) == 600
