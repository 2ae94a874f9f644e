"""From DCMTK's storescu through the node to DCMTK's storescp and to an Orthanc."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from tests.journeys.test_first_light import SEG, SR, segment_ml, volume_ml
from tests.site import Site, end_with_us, free_port, running, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]
DCIODVFY = Path(sys.executable).parent / "dciodvfy"

missing = [name for name in ("storescu", "storescp", "Orthanc") if shutil.which(name) is None]
if missing:
    pytest.skip(f"not installed: {', '.join(missing)} (Debian: dcmtk, orthanc)", allow_module_level=True)
# Orthanc's DICOM port listens on every address there is.
if [name for _, name in socket.if_nameindex()] != ["lo"]:
    pytest.skip("runs in a network of its own: unshare --net, with lo up", allow_module_level=True)


@contextmanager
def program(*command: str) -> Iterator[None]:
    """A foreign server, for as long as the block runs."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=end_with_us)  # noqa: PLW1509
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def asked(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return json.load(answer)


def orthanc_holds(port: int) -> list[str]:
    try:
        return list(asked(port, "instances"))
    except OSError:
        return []


def test_one_seg_and_one_sr_arrive_at_storescp_and_at_orthanc(tmp_path: Path, test_data: Path) -> None:
    scp, orthanc, web = free_port(), free_port(), free_port()
    inbox = tmp_path / "storescp"
    inbox.mkdir()
    settings = {
        "Name": "ORTHANC",
        "StorageDirectory": str(tmp_path / "orthanc"),
        "IndexDirectory": str(tmp_path / "orthanc"),
        "DicomAet": "ORTHANC",
        "DicomPort": orthanc,
        "HttpPort": web,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    site = Site(tmp_path / "site", quiet_s=2.0)
    site.peer("STORESCU", roles=["source"], results_to=["STORESCP", "ORTHANC"])
    site.peer("STORESCP", port=scp, roles=["destination"])
    site.peer("ORTHANC", port=orthanc, roles=["destination"])
    head = test_data / "dicom" / "studyforrest_T1w"
    with (
        program("storescp", "-aet", "STORESCP", "-od", str(inbox), "-pm", str(scp)),
        program("Orthanc", str(tmp_path / "orthanc.json")),
        running(site),
    ):
        send = ["storescu", "-aet", "STORESCU", "-aec", "MATINS", "+sd", "+r", "127.0.0.1", str(site.port), str(head)]
        subprocess.run(send, check=True, env={**os.environ, "TCP_NODELAY": "1"}, timeout=300)
        wait_until("SEG and SR at storescp", lambda: len(list(inbox.iterdir())) == 2, limit_s=240)
        wait_until("SEG and SR at Orthanc", lambda: len(orthanc_holds(web)) == 2, limit_s=240)
        held = {asked(web, f"instances/{each}/tags?simplify")["SOPClassUID"] for each in orthanc_holds(web)}
    assert held == {SEG, SR}
    results = {dataset.SOPClassUID: dataset for dataset in map(dcmread, inbox.iterdir())}
    assert set(results) == {SEG, SR}
    assert volume_ml(results[SR]) == pytest.approx(1825, rel=0.02)
    assert volume_ml(results[SR]) == pytest.approx(segment_ml(results[SEG]), rel=0.001)
    for path in inbox.iterdir():
        judged = subprocess.run([str(DCIODVFY), "-new", str(path)], capture_output=True, text=True)
        assert [line for line in (judged.stdout + judged.stderr).splitlines() if line.startswith("Error")] == []
