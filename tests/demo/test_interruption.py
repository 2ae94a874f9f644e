"""A signal that comes half-way through the start of a child leaves no orphan."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from node.demo import children


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_start_of_a_child_ends_that_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def interrupted(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        started.append(real(*arguments, **options))  # type: ignore[call-overload]
        os.kill(os.getpid(), number)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        children.Child("a server", ["http.server", "--bind", "127.0.0.1", "0"], tmp_path / "log")
    assert started[0].returncode is not None
