"""What the kernel sees: every object is durable before its sender hears 0x0000, with one association and with eight."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.disk import writes_past_the_page_cache
from tests.receive.objects import encoded, mr_slice
from tests.receive.peer import calling, store
from tests.receive.test_listener import Room
from tests.site import wait_until

_LINE = re.compile(r"^(?P<thread>\d+)\s+(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<call>\w+)\()(?P<rest>.*)$")
_CALLS = (
    "trace=fcntl,fsync,fdatasync,link,linkat,rename,renameat,renameat2,pwritev,pwritev2,sendto,sendmsg,write,writev"
)
_UID = re.compile(r"1\.2\.826\.7\.\d+")
#: Written through the page cache, past it, and in a file of its own.
_SMALL, _MIDDLE, _LARGE = (64, 64), (400, 400), (1000, 800)

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (Debian: strace)"),
]


@dataclass(slots=True)
class Call:
    """One system call: between its lines `begun` and `ended` of the trace."""

    name: str
    arguments: str
    begun: int
    ended: int = -1
    result: str = ""

    @property
    def done(self) -> bool:
        return self.ended >= 0 and not self.result.startswith("-1")

    @property
    def uids(self) -> set[str]:
        return set(_UID.findall(self.arguments))


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGKILL)
    made.notices.close()


@pytest.mark.parametrize("associations", [1, 8])
def test_every_acknowledgement_comes_after_the_syncs(room: Room, tmp_path: Path, associations: int) -> None:
    sent: dict[str, int] = {}
    trace = tmp_path / "trace"
    each = 24 // associations + 2
    command = ["strace", "-f", "-y", "-v", "-s", "1024", "-xx", "-e", _CALLS, "-o", str(trace), "-p", str(room.pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    try:
        tracer.stderr.readline()  # "Process … attached"
        threads = [threading.Thread(target=_send, args=(room.port, one, each, sent)) for one in range(associations)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        wait_until("the trace", lambda: set(sent) <= {uid for uid, _ in answers(calls_of(trace))})
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
        tracer.stderr.close()
    assert len(sent) == each * associations
    assert set(sent.values()) == {0x0000}
    calls = calls_of(trace)
    told = answers(calls)
    assert len(told) == len(sent)
    assert [problem for uid, answer in told if (problem := not_durable(calls, uid, answer))] == []
    large = [call for call in calls if call.name in ("link", "linkat") and "/incoming/" in call.arguments]
    if associations == 1 and writes_past_the_page_cache(room.folder):
        turned = [call for call in calls if call.name == "fcntl" and "/journal/" in call.arguments and call.done]
        assert any("O_DIRECT" in call.arguments for call in turned), (
            "a record was to be written past the page cache too"
        )
    assert len(large) == 2 * associations, "an object that is too large for the journal was to be sent too"


def _send(port: int, association: int, count: int, sent: dict[str, int]) -> None:
    """Send `count` objects over one association: two large ones among others."""
    with calling(port) as association_:
        for number in range(count):
            uid = f"1.2.826.7.{10_000 * (association + 1) + number}"
            rows, columns = _LARGE if number % (count // 2) == 1 else (_SMALL, _MIDDLE)[number % 2]
            pixels = np.random.default_rng(number).integers(0, 4096, (rows, columns), dtype=np.int16).tobytes()
            content = encoded(mr_slice(SOPInstanceUID=uid, Rows=rows, Columns=columns, PixelData=pixels))
            sent[uid] = store(association_, content, sop_instance=uid).Status


def answers(calls: list[Call]) -> list[tuple[str, Call]]:
    """The C-STORE responses: P-DATA-TF PDUs (PS3.8 §9.3.5: type 04H) that bear an instance's UID."""
    found = []
    for call in calls:
        is_sent = call.name in ("sendto", "sendmsg", "write", "writev") and "<socket:" in call.arguments
        if is_sent and '"\x04\x00' in call.arguments:
            found += [(uid, call) for uid in call.uids]
    return found


def not_durable(calls: list[Call], uid: str, answer: Call) -> str:
    """Why the object was not durable when its answer began; "" if it was."""
    before = [call for call in calls if call.done and call.ended < answer.begun]
    records = [
        call
        for call in before
        if call.name in ("pwritev", "pwritev2") and "/journal/" in call.arguments and uid in call.uids
    ]
    if not records:
        return f"{uid}: no record was written"
    record = records[0]
    segment = _file(record)
    if not any(call.name == "fdatasync" and _file(call) == segment and call.begun > record.ended for call in before):
        return f"{uid}: its record was not synced"
    named = re.search(rf'{re.escape(uid)}".*?"path":"(spool/[^"]+\.dcm)"', record.arguments)
    return f"{uid}: {problem}" if named and (problem := _not_named_durably(before, named[1], record)) else ""


def _not_named_durably(calls: list[Call], path: str, record: Call) -> str:
    links = [call for call in calls if call.name in ("link", "linkat") and path in call.arguments]
    if not links:
        return "its file was not named"
    link = links[0]
    found = re.search(r"/incoming/[\w-]+\.tmp", link.arguments)
    assert found is not None
    temporary, folder = found[0], os.path.dirname(path)
    if not any(call.name == "fsync" and temporary in call.arguments and call.ended < link.begun for call in calls):
        return "its file was not synced before it was named"
    if not any(
        call.name == "fsync" and _file(call).endswith(folder) and link.ended < call.begun and call.ended < record.begun
        for call in calls
    ):
        return "its folder was not synced"
    return ""


def _file(call: Call) -> str:
    """The path of the first descriptor."""
    found = re.match(r"\d+<([^>]*)>", call.arguments)
    return found[1] if found else ""


def calls_of(trace: Path) -> list[Call]:
    """All calls of the trace, in the order in which they began."""
    calls: list[Call] = []
    open_calls: dict[str, Call] = {}
    lines = trace.read_text().splitlines() if trace.exists() else []
    for number, line in enumerate(lines):
        found = _LINE.match(line)
        if not found:
            continue
        rest = _plain(found["rest"])
        if found["resumed"]:
            call = open_calls.pop(found["thread"], None)
            if call is not None:
                call.ended, call.result = number, rest.rpartition(" = ")[2]
            continue
        call = Call(name=found["call"], arguments=rest, begun=number)
        calls.append(call)
        if rest.endswith("<unfinished ...>"):
            open_calls[found["thread"]] = call
        else:
            call.ended, call.result = number, rest.rpartition(" = ")[2]
    return calls


def _plain(text: str) -> str:
    """Undo strace's -xx escapes, in paths too."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)


TRACE = r"""
10 pwritev(7</d/spool/journal/00000001.seg>, [{iov_base="1.2.826.7.1", iov_len=11}], 1, 4096) = 4096
10 fdatasync(7</d/spool/journal/00000001.seg> <unfinished ...>
11 pwritev(7</d/spool/journal/00000001.seg>, [{iov_base="1.2.826.7.2", iov_len=11}], 1, 8192) = 4096
10 <... fdatasync resumed>) = 0
10 sendto(9<socket:[1]>, "\x04\x00 1.2.826.7.1", 20, 0, NULL, 0) = 20
11 sendto(9<socket:[1]>, "\x04\x00 1.2.826.7.2", 20, 0, NULL, 0) = 20
"""


def test_an_answer_whose_sync_began_before_its_record_was_written_is_found(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text(TRACE)
    calls = calls_of(tmp_path / "trace")
    problems = [not_durable(calls, uid, answer) for uid, answer in answers(calls)]
    assert problems == ["", "1.2.826.7.2: its record was not synced"]
