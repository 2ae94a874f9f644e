"""The three made-up studies, and an archive that listens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.demo import head, template
from node.demo.archive import Archive
from node.demo.collection import Collection
from node.demo.head import DemoStudy
from node.demo.sender import Address
from node.demo.template import Image


@pytest.fixture(scope="session")
def brain() -> Image:
    return template.t1()


@pytest.fixture(scope="session")
def studies() -> dict[str, DemoStudy]:
    return {study.name: study for study in head.studies()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def archive(folder: Path) -> Iterator[Address]:
    listening = Archive(Collection(folder), "ARCHIVE")
    port = listening.start(0)
    yield Address("127.0.0.1", port, "ARCHIVE")
    listening.stop()
