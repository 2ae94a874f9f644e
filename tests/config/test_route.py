from __future__ import annotations

import re
from pathlib import Path

import pytest

from node.config import Route, Settings
from node.domain.priority import Lane

ROOT = Path(__file__).resolve().parents[2]
RIS = {"name": "RIS", "kind": "hl7", "host": "ris", "port": 2575, "interface": "worklist"}
SCANNER = {"name": "CT", "ae_title": "CT", "addresses": ["127.0.0.1/32"], "roles": ["source"]}


def test_the_file_that_is_shipped_names_every_key_of_a_route_and_no_other() -> None:
    section = (ROOT / "config.toml").read_text().partition("# [[routes]]\n")[2]
    lines = section.split("\n# [[")[0].split("\n\n")[0].splitlines()
    keys = {found[1] for line in lines if (found := re.match(r"# ([a-z_]+) = ", line))}
    assert keys == set(Route.model_fields)


def test_nobody_is_told_anything_by_default() -> None:
    settings = Settings.model_validate({"peers": [SCANNER]})
    assert (settings.routes, settings.peers[0].flags_to) == ((), ())


def test_settings_reach_a_child_as_they_are() -> None:
    settings = Settings.model_validate(
        {"peers": [{**SCANNER, "flags_to": ["RIS"]}], "routes": [{**RIS, "lanes": ["STAT"], "when": ["urgent"]}]}
    )
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    assert settings.routes[0].lanes == (Lane.STAT,)


@pytest.mark.parametrize(
    ("routes", "flags_to", "said"),
    [
        ([RIS], ["PACS"], "flags_to of CT names neither route nor reader: PACS"),
        ([RIS, RIS], [], "two routes have the same name"),
        ([{**RIS, "tls": "starttls"}], [], "starttls is for e-mail"),
        ([{**RIS, "phi": ["patient_id"]}], [], "matched by its accession number"),
        ([{**RIS, "certificate_file": "a.pem"}], [], "go together"),
        ([{**RIS, "sending_application": "A|B"}], [], "letters, digits"),
        ([{**RIS, "name": "R I S"}], [], "String should match"),
        ([{**RIS, "port": None}], [], "needs port"),
    ],
)
def test_routes_that_cannot_be_meant_are_refused(
    routes: list[dict[str, object]], flags_to: list[str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Settings.model_validate({"peers": [{**SCANNER, "flags_to": flags_to}], "routes": routes})


def test_sources_name_readers_as_they_name_routes_and_no_other_peer() -> None:
    reader = {"name": "READING-ROOM", "ae_title": "R", "addresses": ["127.0.0.1/32"], "roles": ["reader"]}
    scanner = {**SCANNER, "flags_to": ["READING-ROOM"]}
    assert Settings.model_validate({"peers": [scanner, reader]}).peers[0].flags_to == ("READING-ROOM",)
    with pytest.raises(ValueError, match="neither route nor reader"):
        Settings.model_validate({"peers": [scanner, {**reader, "roles": ["performer"]}]})
    with pytest.raises(ValueError, match="a reader and a route have the same name"):
        Settings.model_validate({"peers": [scanner, reader], "routes": [{**RIS, "name": "READING-ROOM"}]})
