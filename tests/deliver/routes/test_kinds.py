"""What every kind of route keeps to; a new file in the folder is held to it by itself."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import get_args

import pytest

from node.config import DeliverSettings, Route
from node.config.route import KEYS_OF_KIND, Kind, Phi
from node.deliver.routes import kind_of, kinds
from tests.deliver.routes.letters import CANARIES, letter, routes

KINDS = sorted(kinds())


def text_of(message: bytes) -> str:
    """Everything that stands in a message, also where it is encoded for its journey."""
    plain = message.decode("utf-8", "replace")
    body = plain.partition("\r\n\r\n")[2]
    try:
        return plain + base64.b64decode(body, validate=False).decode("utf-8", "replace")
    except ValueError:
        return plain


def test_the_kinds_are_found_and_settings_know_them() -> None:
    assert {"hl7", "webhook", "email"} <= set(KINDS) <= set(get_args(Kind)) == set(KEYS_OF_KIND)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_its_module_and_passes_its_own_check(kind: str, tmp_path: Path) -> None:
    route = routes(tmp_path)[kind]
    found = kind_of(route)
    assert found is not None
    assert found.KIND == kind
    found.check(route)
    assert found.limit_s(route, DeliverSettings()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_letter_gives_the_same_message(kind: str, tmp_path: Path) -> None:
    route = routes(tmp_path)[kind]
    first, second = (kinds()[kind].message(route, letter(route)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("phi", ["", *get_args(Phi)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_says_of_the_patient_what_the_site_allows_and_nothing_else(
    kind: str, phi: str, tmp_path: Path
) -> None:
    needed = {"hl7": {"accession_number"}, "ups": {"study_instance_uid"}}.get(kind, set())
    keys = {*needed, phi} - {""}
    route = Route.model_validate({**routes(tmp_path)[kind].model_dump(), "phi": sorted(keys)})
    text = text_of(kinds()[kind].message(route, letter(route)))
    assert {name for name, canary in CANARIES.items() if canary in text} <= keys


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"hl7", "ups"}))
def test_by_default_nothing_of_the_patient_is_said(kind: str, tmp_path: Path) -> None:
    route = routes(tmp_path)[kind]
    text = text_of(kinds()[kind].message(route, letter(route)))
    assert not [name for name, canary in CANARIES.items() if canary in text]


@pytest.mark.parametrize("kind", KINDS)
def test_settings_that_mean_nothing_for_a_kind_are_refused(kind: str, tmp_path: Path) -> None:
    strange = "url" if kind != "webhook" else "may_change_orders"
    value: object = "https://example.org/x" if kind != "webhook" else True
    with pytest.raises(ValueError, match=f"{strange} means nothing for the kind {kind}"):
        Route.model_validate({**routes(tmp_path)[kind].model_dump(), strange: value})
