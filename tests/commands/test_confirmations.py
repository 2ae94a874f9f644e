"""`matins check` says whether destinations offer what their settings ask of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.commands.check import Check
from node.commands.confirmations import confirmations
from node.config import Settings
from node.domain.commitment import PUSH_MODEL
from tests.deliver.archive import FIND, SR, Archive

FILE = Path("config.toml")


@pytest.fixture(scope="module")
def archives() -> Iterator[dict[str, Archive]]:
    """One that offers both, one that offers commitment, one that offers queries, and one that stores."""
    services = {"both": (PUSH_MODEL, FIND), "ask": (PUSH_MODEL,), "query": (FIND,), "neither": (SR,)}
    started = {name: Archive(services=offered).start() for name, offered in services.items()}
    yield started
    for each in started.values():
        each.stop()


def checked(archive: Archive, **peer: object) -> list[Check]:
    made = {"name": "PACS", "ae_title": "PACS", "host": "127.0.0.1", "port": archive.port, "roles": ["destination"]}
    settings = Settings.model_validate({"deliver": {"connect_s": 5.0, "dimse_s": 10.0}, "peers": [{**made, **peer}]})
    return list(confirmations(settings, FILE))


@pytest.mark.parametrize(
    ("offers", "found"),
    [
        ("both", "offers storage commitment and queries; it has no addresses"),
        ("ask", "offers storage commitment; it has no addresses"),
        ("query", "offers queries"),
        ("neither", "offers neither storage commitment nor queries"),
    ],
)
def test_what_a_destination_offers_is_told(archives: dict[str, Archive], offers: str, found: str) -> None:
    [told] = checked(archives[offers])
    assert told.ok
    assert told.found.startswith(found)


@pytest.mark.parametrize(
    ("offers", "settings", "key"),
    [
        ("query", {"confirm": "ask"}, "peers[0].confirm"),
        ("ask", {"confirm": "query"}, "peers[0].confirm"),
        ("ask", {"reconcile": True}, "peers[0].reconcile"),
    ],
)
def test_what_is_asked_for_and_not_offered_is_named(
    archives: dict[str, Archive], offers: str, settings: dict[str, object], key: str
) -> None:
    [told] = checked(archives[offers], **settings)
    assert (told.ok, told.key, bool(told.problem), bool(told.remedy)) == (False, key, True, True)


def test_a_destination_that_confirms_nothing_is_not_called(archives: dict[str, Archive]) -> None:
    before = archives["both"].associations
    assert checked(archives["both"], confirm="none") == []
    assert archives["both"].associations == before
