from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from node.demo import children
from node.demo.children import Child
from node.errors import Failed


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Starts a small program in the place of an archive or a node."""
    monkeypatch.setattr(children, "_ROOT", tmp_path)

    def start(program: str) -> Child:
        (tmp_path / "standin.py").write_text("import signal, sys, time\n" + program)
        return Child("the stand-in", ["standin"], tmp_path / "log")

    return start


SAYS = "print('ready 127.0.0.1:4711', flush=True)\nprint('half', end='', flush=True)\n"


def test_what_a_child_says_is_heard_while_it_runs_and_it_ends_with_the_block(child) -> None:
    with child(SAYS + "time.sleep(60)") as running:
        assert running.said("ready 127.0.0.1:", 20) == "4711"
        running.check()
        number = running._process.pid
    assert running._process.returncode == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_a_line_still_being_written_is_not_taken_for_said(child) -> None:
    with child(SAYS + "time.sleep(60)") as running:
        running.said("ready", 20)
        with pytest.raises(Failed, match="not ready within"):
            running.said("half", 0.3)


def test_a_child_that_ends_is_told_with_its_last_words(child) -> None:
    with child(SAYS + "sys.exit('out of coffee')") as running:
        with pytest.raises(Failed, match=r"(?s)the stand-in ended with exit code 1.*out of coffee"):
            running.said("all rooms ready", 20)
        with pytest.raises(Failed, match="out of coffee"):
            running.check()


def test_what_was_said_before_the_end_still_counts(child) -> None:
    with child(SAYS + "sys.exit(0)") as running:
        running._process.wait()
        assert running.said("ready", 20) == "127.0.0.1:4711"


def test_a_child_that_does_not_listen_is_ended_all_the_same(child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_DRAIN_S", 0.2)
    with child("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(60)") as running:
        running.said("deaf", 20)
    assert running._process.returncode == -signal.SIGKILL


def test_a_second_interrupt_while_waiting_ends_the_child_at_once(child, monkeypatch: pytest.MonkeyPatch) -> None:
    real, waited = subprocess.Popen.wait, []

    def wait(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        waited.append(timeout)
        if len(waited) == 1:
            raise KeyboardInterrupt
        return real(self, timeout)

    with child("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(60)") as running:
        running.said("deaf", 20)
        monkeypatch.setattr(subprocess.Popen, "wait", wait)
    assert running._process.returncode == -signal.SIGKILL


def test_only_the_last_lines_are_repeated(child) -> None:
    with child("for n in range(1000): print(f'line {n}.')\nprint('end', flush=True)\ntime.sleep(60)") as running:
        running.said("end", 20)
        lines = running.tail().splitlines()
    assert len(lines) == 25
    assert "line 999." in lines[-2]


def test_a_child_has_a_session_of_its_own_so_that_ctrl_c_spares_it(child) -> None:
    with child("print('here', flush=True)\ntime.sleep(60)") as running:
        running.said("here", 20)
        assert os.getsid(running._process.pid) == running._process.pid
