"""DCMTK asks for our results and has them moved, as a viewer would."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.config import Settings
from node.domain.model_card import Mode
from node.domain.time import SystemClock
from node.domain.work import ResultState
from node.receive.intakes import cstore
from node.receive.keeper import Keeper
from node.store import outbox
from node.store.database import Database
from node.store.spool import Spool
from tests.deliver.conftest import Pacs, queue_results, serving
from tests.fakes import STUDY
from tests.receive.objects import free_port

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not shutil.which("findscu"), reason="DCMTK (Debian: dcmtk) is not installed"),
]
ADDRESS = ["127.0.0.1/32"]


@pytest.fixture
def viewer() -> Iterator[Pacs]:
    made = Pacs(title="VIEWER").start()
    yield made
    made.stop()


@pytest.fixture
def settings(tmp_path: Path, viewer: Pacs) -> Settings:
    (tmp_path / "var").mkdir()
    scanner = {"name": "SCANNER", "ae_title": "SCANNER", "addresses": ADDRESS, "roles": ["source"]}
    place = {"host": "127.0.0.1", "port": viewer.port, "addresses": ADDRESS}
    return Settings.model_validate(
        {
            "node": {"port": free_port()},
            "data": {"folder": tmp_path / "var", "minimum_free_percent": 0.0},
            "peers": [
                {**scanner, "results_to": ["VIEWER"]},
                {"name": "VIEWER", "ae_title": "VIEWER", "roles": ["destination"], "confirm": "none", **place},
            ],
            "models": {"brain": {"mode": Mode.LIVE}},
        }
    )


@pytest.fixture
def port(settings: Settings, db: Database) -> Iterator[int]:
    keeper = Keeper(db, Spool(db.folder), SystemClock())
    running = cstore.start(settings, keeper)
    yield running.port
    running.stop(0.0)
    keeper.close()


def test_dcmtk_finds_a_study_and_has_its_results_moved(
    settings: Settings, db: Database, port: int, viewer: Pacs
) -> None:
    clock = SystemClock()
    rows = queue_results(db, clock.now(), (1, 2), to=["VIEWER"])
    with db.transaction():
        for row in rows:
            for state in (ResultState.SENT, ResultState.COMMITTED):
                [now] = outbox.with_ids(db, [row.id])
                assert outbox.move(db, clock.now(), now, state, "")
    call = ["-v", "-S", "-aet", "VIEWER", "-aec", "MATINS", "-k", f"StudyInstanceUID={STUDY}"]
    where = ["127.0.0.1", str(port)]
    found = subprocess.run(
        ["findscu", *call, "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName", *where],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr
    assert STUDY in found.stdout + found.stderr
    assert "Doe^Jane" in found.stdout + found.stderr
    everybody = [
        "-v",
        "-S",
        "-aet",
        "VIEWER",
        "-aec",
        "MATINS",
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        "PatientName=*",
    ]
    refused = subprocess.run(["findscu", *everybody, *where], capture_output=True, text=True, timeout=60)
    assert "Doe" not in refused.stdout + refused.stderr
    destination = serving(db, clock, settings, "VIEWER")
    with subprocess.Popen(
        ["movescu", *call, "-k", "QueryRetrieveLevel=STUDY", "-aem", "VIEWER", *where],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as moving:
        try:
            while moving.poll() is None:
                destination.step()
        finally:
            moving.kill()
        told = moving.stdout.read() if moving.stdout else ""
    assert moving.returncode == 0, told
    assert sorted(uid for uid, _ in viewer.received) == sorted(row.sop_instance_uid for row in rows)
    assert "Success" in told
