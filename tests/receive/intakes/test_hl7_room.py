"""The listen room as a process of its own: killed after it has acknowledged, it acts when it starts again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from node.store import hl7_messages
from node.store.database import open_database
from node.store.hl7_messages import MessageState
from tests.receive.hl7.messages import RIS, Client, message, pid
from tests.site import ROOT, end_with_us, free_port, wait_until


@contextmanager
def room(config: Path, port: int, number: int = signal.SIGKILL) -> Iterator[Client]:
    """The room, until it is ready and while it runs; a connection to it."""
    command = [sys.executable, "-m", "node", "listen", "--config", str(config)]
    with (config.parent / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, preexec_fn=end_with_us)  # noqa: PLW1509

    def connected() -> Client | None:
        assert process.poll() is None, (config.parent / "log").read_text()
        with suppress(ConnectionRefusedError):
            return Client(port)
        return None

    try:
        with wait_until("the port listens", connected, limit_s=60) as client:
            yield client
    finally:
        process.send_signal(number)
        process.wait(60)


def test_what_was_acknowledged_is_acted_upon_after_the_room_was_killed(tmp_path: Path):
    port, config, data = free_port(), tmp_path / "config.toml", tmp_path / "var"
    for name in ("models", "rules"):
        (tmp_path / name).mkdir()
    sender = "\n".join(f"{key} = {json.dumps(value)}" for key, value in RIS.items() if not isinstance(value, dict))
    config.write_text(
        f"[node]\nport = {free_port()}\n[data]\nminimum_free_percent = 1\n[receive]\njournal_ready_bytes = 67108864\n"
        f"[receive.hl7]\nenabled = true\nport = {port}\n[[receive.hl7.senders]]\n{sender}\n"
        'authorities = { HOSP = "A" }\n'
    )
    told = [message("ADT^A08", pid(f"P{number}^^^HOSP"), "AL1|1||Penicillin") for number in range(40)]
    with room(config, port) as ris:
        assert [ris.told(each) for each in told] == ["AA"] * 40
    with closing(open_database(data, "test")) as db:
        before = hl7_messages.tally(db)
        assert sum(before.values()) == 40
        with db.transaction():
            # As if it had been killed before it did anything.
            db.execute("UPDATE hl7_message SET state = 'received' WHERE id = 40")
            db.execute("DELETE FROM history WHERE patient_id = 'P39'")
        with room(config, port, signal.SIGTERM) as ris:
            assert ris.told(told[0]) == "AA"
            wait_until("all are acted upon", lambda: hl7_messages.tally(db) == {MessageState.APPLIED: 40}, limit_s=60)
        rows = db.rows("SELECT patient_id, count(*) AS number FROM history GROUP BY patient_id")
        assert {row["patient_id"]: row["number"] for row in rows} == {f"P{number}": 1 for number in range(40)}
