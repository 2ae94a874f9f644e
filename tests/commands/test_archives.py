from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.commands.archives import archives
from node.config import Settings
from tests.retrieve.scripted import DONE, Scripted
from tests.retrieve.test_dicomweb import Web
from tests.site import free_port


@pytest.fixture
def pacs() -> Iterator[Scripted]:
    running = Scripted([[DONE]]).start()
    yield running
    running.stop()


@pytest.fixture
def web() -> Iterator[Web]:
    running = Web().start()
    running.put("/studies", json.dumps([]).encode())
    yield running
    running.stop()


def archive(name: str, port: int | None, roles: tuple[str, ...] = ("archive",), **more: object) -> dict[str, object]:
    place = {"host": "127.0.0.1", "port": port} if port else {}
    addresses = ("127.0.0.1/32",) if "source" in roles else ()
    return {"name": name, "ae_title": name, "roles": roles, "addresses": addresses, **place, **more}


def test_each_archive_is_asked_and_how_its_studies_come_is_told(pacs: Scripted, web: Web) -> None:
    peers = [
        archive("MOVES", pacs.port, ("source", "archive")),
        archive("GETS", pacs.port),
        archive("WEBS", None, dicomweb=web.address),
        archive("AWAY", free_port()),
        {"name": "SCANNER", "ae_title": "S", "roles": ["source"], "addresses": ["127.0.0.1/32"]},
    ]
    found = list(archives(Settings.model_validate({"peers": peers}), Path("config.toml")))
    assert [each.ok for each in found] == [True, True, True, False]
    assert [each.found.rpartition("by ")[2][:7] for each in found[:3]] == ["C-MOVE", "C-GET: ", "WADO-RS"]
    assert (found[3].key, found[3].about) == ("peers[3]", "archive")
    assert "nobody answers at AWAY" in found[3].problem
    assert found[3].remedy
