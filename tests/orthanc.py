"""An Orthanc as a peer of the tests. Its DICOM port listens on every address: only in a network of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from node.demo.sender import Address, send
from tests.site import Site, end_with_us, free_port, wait_until


class Orthanc:
    """An Orthanc in a folder of its own; it knows the node unless a test says otherwise."""

    def __init__(self, folder: Path, node: Site) -> None:
        self.folder, self.port, self.web = folder, free_port(), free_port()
        folder.mkdir()
        self.settings: dict[str, Any] = {
            "Name": "ORTHANC",
            "StorageDirectory": str(folder),
            "IndexDirectory": str(folder),
            "DicomAet": "ORTHANC",
            "DicomPort": self.port,
            "HttpPort": self.web,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowMove": True,
            "DicomModalities": {"matins": ["MATINS", "127.0.0.1", node.port]},
            "Plugins": [],
        }

    @contextmanager
    def running(self) -> Iterator[None]:
        (self.folder / "orthanc.json").write_text(json.dumps(self.settings))
        command = ["Orthanc", str(self.folder / "orthanc.json")]
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=end_with_us)  # noqa: PLW1509
        try:
            wait_until("Orthanc", self.is_up, limit_s=60)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def is_up(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.web}/system", timeout=5).close()
        except OSError:
            return False
        return True

    def hold(self, paths: list[Path]) -> None:
        answers = send(paths, Address("127.0.0.1", self.port, "ORTHANC"))
        assert all(answer.status == 0 for answer in answers)
