"""What the kernel sees: object and folder are synced before the sender hears 0x0000."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.site import Site, running, wait_until

_CALL = re.compile(r"^\d+\s+(?P<call>\w+)\((?P<arguments>.*)")
_SPOOLED = re.compile(r"/spool/incoming/[\w-]+\.tmp>")
_FOLDER = re.compile(r"/spool/[0-9a-f]{2}>")

pytestmark = pytest.mark.timeout(600)


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (Debian: strace)")
def test_twenty_of_twenty_acknowledgements_come_after_the_syncs(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", models=tiny_model_folder(tmp_path / "models"), model="tiny")
    site.peer("SCANNER", roles=["source"])
    files = tiny_head(tmp_path / "head", "1.2.3", slices=20)
    trace = tmp_path / "trace"
    with running(site):
        calls = "trace=fsync,fdatasync,rename,renameat,renameat2,sendto,sendmsg,write"
        command = ["strace", "-f", "-y", "-s", "8", "-xx", "-e", calls, "-o", str(trace)]
        tracer = subprocess.Popen([*command, "-p", str(site.rooms()["listen"])], stderr=subprocess.PIPE)
        assert tracer.stderr is not None
        try:
            tracer.stderr.readline()  # "Process … attached"
            answers = site.send(files, calling="SCANNER")
            assert [answer.status for answer in answers] == [0] * 20
            wait_until("the trace", lambda: len(events_of(trace)) >= 80)
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(20)
            tracer.stderr.close()
    done = events_of(trace)
    assert done.count("answer") == 20
    since: list[str] = []
    for event in done:
        if event == "answer":
            assert since[-3:] == ["object synced", "renamed", "folder synced"], since
            since = []
        else:
            since.append(event)


def events_of(trace: Path) -> list[str]:
    """What the trace says that matters here, in its order."""
    events = []
    for line in trace.read_text().splitlines() if trace.exists() else []:
        found = _CALL.match(line)
        if not found:
            continue
        call, arguments = found["call"], _plain(found["arguments"])
        if call in ("fsync", "fdatasync"):
            if _SPOOLED.search(arguments):
                events.append("object synced")
            elif _FOLDER.search(arguments):
                events.append("folder synced")
        elif call.startswith("rename") and "/spool/" in arguments:
            events.append("renamed")
        # A P-DATA-TF PDU (PS3.8 §9.3.5: type 04H) to the sender.
        elif call in ("sendto", "sendmsg", "write") and "<socket:" in arguments and '"\x04\x00' in arguments:
            events.append("answer")
    return events


def _plain(text: str) -> str:
    """Undo strace's -xx escapes, in paths too."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)
