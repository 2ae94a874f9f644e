"""The real child, as a process: its channel, its deaths, its parent's death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from node.config import InferSettings
from node.domain.model_card import Mode
from node.errors import Failed
from node.infer.messages import Job, ReplyKind, Slice
from node.infer.model_child import ModelChild
from node.store import instances
from tests.conftest import ROOT
from tests.infer.conftest import Site, ask

STUDY = "1.2.3.1"


def job(site: Site, mask: Path) -> Job:
    site.waits(STUDY)
    slices = [
        Slice(path=str(site.db.folder / held.path), instance=held.instance)
        for held in instances.of_study(site.db, STUDY)
        if held.instance is not None
    ]
    return Job(id="7", slices=tuple(slices), stem=str(mask.with_suffix("")))


def test_nothing_that_is_printed_reaches_the_channel(site: Site, tmp_path: Path):
    noisy = tmp_path / "noisy.py"
    noisy.write_text(
        textwrap.dedent("""
            import os, sys
            from node.infer import model_process, serving
            load = serving.load
            def loudly(start):
                print("python prints"); os.write(1, b"C prints\\n"); sys.stdout.flush()
                os.system("echo a child prints")
                return load(start)
            serving.load = loudly
            sys.exit(model_process.main())
        """)
    )
    child = ModelChild(site.model, InferSettings(device="cpu"), [sys.executable, str(noisy)])
    try:
        reply = ask(child, job(site, tmp_path / "mask.npz"))
        assert (reply.kind, reply.reason) == (ReplyKind.DONE, "")
        assert {"python prints", "C prints", "a child prints"} <= set(child._said)
    finally:
        child.end()
    assert child._process.returncode == 0


def test_signals_meant_for_the_room_do_not_cost_it_a_study(site: Site, tmp_path: Path):
    child = ModelChild(site.model, InferSettings(device="cpu"))
    try:
        child.wait_until_ready(lambda: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(child._process.pid, number)
        assert ask(child, job(site, tmp_path / "mask.npz")).kind is ReplyKind.DONE
    finally:
        child.end()


def test_a_mask_that_cannot_be_written_is_a_passing_fault(site: Site, tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    child = ModelChild(site.model, InferSettings(device="cpu"))
    try:
        reply = ask(child, job(site, tmp_path / "file" / "mask.npz"))
    finally:
        child.end()
    assert reply.kind is ReplyKind.TRANSIENT
    assert "mask cannot be written" in reply.reason


def test_a_gpu_that_is_asked_for_and_not_there_is_named(site: Site):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    child = ModelChild(site.model, InferSettings(device="cuda"))
    try:
        with pytest.raises(Failed, match=r'\[infer\] device is "cuda", but PyTorch sees no GPU'):
            child.wait_until_ready(lambda: None)
    finally:
        child.end()


def test_the_process_dies_with_its_parent(site: Site, tmp_path: Path):
    parent = tmp_path / "parent.py"
    parent.write_text(
        textwrap.dedent(f"""
            import sys, time
            from pathlib import Path
            from node.catalogue import load_models
            from node.config import InferSettings
            from node.domain.model_card import Mode
            from node.infer.model_child import ModelChild
            folder = Path({str(site.settings.catalogue.models_folder)!r})
            (model,) = load_models(folder, [folder / "models.lock"], {{"tiny": Mode.{Mode.LIVE.name}}})
            child = ModelChild(model, InferSettings(device="cpu"))
            child.wait_until_ready(lambda: None)
            print(child._process.pid, flush=True)
            time.sleep(600)
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(parent)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout is not None
        # The log goes there too.
        child = next(int(line) for line in process.stdout if line.strip().isdigit())
        process.kill()
    _wait_until_gone(child)


def _wait_until_gone(pid: int) -> None:
    for _ in range(200):
        status = Path(f"/proc/{pid}/status")
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("it lives on without its parent")
