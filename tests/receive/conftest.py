from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydicom.config
import pynetdicom._config
import pytest

from node.config import Settings
from node.domain.time import SystemClock
from node.receive.intakes import cstore
from node.receive.keeper import Keeper
from node.store.database import Database, open_database
from node.store.spool import Spool
from tests.receive.objects import settings_for


@pytest.fixture(autouse=True)
def library_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener sets the libraries of its process; tests share one."""
    monkeypatch.setattr(pynetdicom._config, "LOG_HANDLER_LEVEL", "none")
    monkeypatch.setitem(pynetdicom._config.VALIDATORS, "UI", pynetdicom._config.VALIDATORS["UI"])
    monkeypatch.setattr(
        pydicom.config.settings, "reading_validation_mode", pydicom.config.settings.reading_validation_mode
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path / "var")


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    database = open_database(settings.data.folder, "listen", sync_commits=False)
    yield database
    database.close()


@pytest.fixture
def spool(settings: Settings) -> Spool:
    return Spool(settings.data.folder)


@pytest.fixture
def keeper(db: Database, spool: Spool) -> Iterator[Keeper]:
    """The keeper of the spool; `keeper.settle()` waits until what it has kept is indexed."""
    made = Keeper(db, spool, SystemClock(), segment_bytes=4 << 20)
    yield made
    made.close()


@pytest.fixture
def door(settings: Settings, keeper: Keeper) -> Iterator[cstore.Acceptor]:
    """The SCP at work, in this process."""
    running = cstore.start(settings, keeper)
    yield running
    running.stop(0.0)
