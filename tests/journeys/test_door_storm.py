"""What is acknowledged outlasts the death of the process that said so, whenever it comes."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.site import ROOT

pytestmark = pytest.mark.timeout(600)


def test_kill_nine_while_three_senders_go_on_loses_tears_and_forgets_nothing() -> None:
    # A process of its own: the senders' library leaves sockets and threads behind when nobody listens.
    storm_file = str(ROOT / "benchmarks" / "kill_storm.py")
    command = [sys.executable, "-W", "ignore", storm_file, "--kills", "6", "--seed", "3"]
    storm = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert storm.returncode == 0, storm.stdout + storm.stderr
    counted = re.search(r"6 kills, (\d+) acknowledged instances", storm.stdout)
    assert counted is not None, storm.stdout
    assert int(counted[1]) > 0
    for what in ("unindexed", "lost", "torn", "damage"):
        assert f"{what}: 0" in storm.stdout
