"""A store, and a clock moved by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.store.database import Database, open_database
from tests.fakes import FakeClock


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "var", "learn", sync_commits=False)
    yield database
    database.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
