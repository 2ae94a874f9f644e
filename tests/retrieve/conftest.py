"""An archive on the loopback address that answers queries as a test tells it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

from node.config import Settings
from node.store.database import Database, open_database
from tests.associations import Scp
from tests.fakes import STUDY, FakeClock
from tests.retrieve.scripted import Script, Scripted


@dataclass
class Archive:
    """A query SCP: `answers` are (StudyInstanceUID, count) of each match; then `status`."""

    answers: Sequence[tuple[str, object]] = ((STUDY, 3),)
    status: int = 0x0000
    hangs: bool = False
    knows: str = ""
    services: Sequence[str] = (str(StudyRootQueryRetrieveInformationModelFind),)
    port: int = 0
    #: Identifiers as they were asked.
    asked: list[Dataset] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _scp: Scp | None = None

    def start(self) -> Archive:
        ae = AE(ae_title="ARCHIVE")
        ae.require_calling_aet = [self.knows] if self.knows else []
        for service in self.services:
            ae.add_supported_context(service)
        self._scp = Scp(ae, [(evt.EVT_C_FIND, self._find)], port=self.port)
        self.port = self._scp.port
        return self

    def stop(self) -> None:
        self.over.set()
        assert self._scp is not None
        self._scp.stop()

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        self.asked.append(event.identifier)
        if self.hangs:
            self.over.wait()
        for uid, count in self.answers:
            answer = Dataset()
            answer.QueryRetrieveLevel, answer.StudyInstanceUID = "STUDY", uid
            if count is not None:
                answer.NumberOfStudyRelatedInstances = count
            yield 0xFF00, answer
        yield self.status, None


@pytest.fixture
def archive() -> Iterator[Callable[..., Archive]]:
    """Start archives; all end with the test."""
    started: list[Archive] = []

    def start(**settings: object) -> Archive:
        started.append(Archive(**settings).start())  # type: ignore[arg-type]
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "var", "test")
    yield database
    database.close()


def settings_for(db: Database, port: int, **more: int) -> Settings:
    """A node whose source SCANNER is an archive too; `more` are further archives."""
    peers = [
        {
            "name": name,
            "ae_title": name,
            "host": "127.0.0.1",
            "port": each,
            "addresses": ["127.0.0.1/32"],
            "roles": ["source", "archive", "destination"],
        }
        for name, each in {"SCANNER": port, **more}.items()
    ]
    peers.append({"name": "PLAIN", "ae_title": "PLAIN", "addresses": ["127.0.0.1/32"], "roles": ["source"]})
    return Settings.model_validate({"data": {"folder": db.folder}, "deliver": {"connect_s": 5.0}, "peers": peers})


OTHER_SERVICE = (str(Verification),)


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    """Archives that answer as they are told; they end with the test."""
    started: list[Scripted] = []

    def start(*scripts: Script, **settings: object) -> Scripted:
        started.append(Scripted(scripts, **settings).start())  # type: ignore[arg-type]
        return started[-1]

    yield start
    for each in started:
        each.stop()
