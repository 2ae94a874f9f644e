"""The page of the routes says what is so."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from node.config import Route, Settings
from node.config.route import KEYS_OF_KIND, Phi
from node.deliver.hl7.template import CONDITIONS, LISTS, SCALARS
from node.deliver.route import MOST_REFUSALS
from node.deliver.routes import hl7, webhook
from node.domain.finding import Code
from node.domain.notice import Flag, FlaggedFinding, NoticeState, said
from node.domain.patient import Patient
from node.domain.priority import Lane
from tests.deliver.routes.letters import letter
from tests.deliver.routes.test_email import parsed

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "node/ROUTES.md").read_text()
FLAG = Flag(
    study_instance_uid="1.2.826.0.1.3680043.8.498.1",
    patient=Patient(patient_id="4711", issuer="HOSPITAL-A", name="Doe^Jane", birth_date="19560312", sex="F"),
    accession_number="A-2026-17",
    study_date="20260102",
    study_time="025900",
    study_description="Head CT",
    modality="CT",
    lane=Lane.STAT,
    score=90.0,
    reasons=("Blood in the head of a patient who takes an anticoagulant",),
    findings=(
        FlaggedFinding(model="bleed", code=Code("50960005", "SCT", "Hemorrhage"), probability=0.93, present=True),
    ),
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def configured() -> Settings:
    (block,) = blocks("toml")
    return Settings.model_validate(tomllib.loads(block))


def message(name: str, flag: Flag = FLAG, *, version: int = 1) -> bytes:
    from node.deliver.routes import kinds

    route = configured().route_named(name)
    assert route is not None
    link = f"{route.page}/studies/{FLAG.study_instance_uid}" if route.page else ""
    return kinds()[route.kind].message(route, letter(route, flag, version=version, link=link))


def test_the_settings_that_are_shown_load() -> None:
    assert {route.kind for route in configured().routes} == {"hl7", "webhook", "email", "ups"}


@pytest.mark.parametrize("key", sorted(set(Route.model_fields)))
def test_every_key_is_described(key: str) -> None:
    assert re.search(rf"^\| `[^|]*\b{key}\b[^|]*` \|", PAGE, re.MULTILINE), (
        f"{key} has no line in a table of node/ROUTES.md"
    )


@pytest.mark.parametrize("word", sorted({*get_args(Phi), *SCALARS, *LISTS, *CONDITIONS, *NoticeState}))
def test_every_word_of_settings_and_templates_is_named(word: str) -> None:
    assert f"`{word}`" in PAGE


def test_the_messages_that_are_shown_are_those_that_are_sent() -> None:
    taken_back = replace(FLAG, lane=Lane.ROUTINE, score=0.0, reasons=(), findings=())
    sent = (message("RIS"), message("RIS", taken_back, version=2))
    assert blocks("hl7") == [each.decode().replace("\r", "\n") for each in sent]


def test_the_webhooks_body_that_is_shown_is_that_which_is_sent() -> None:
    (shown,) = blocks("json")
    assert json.loads(shown) == json.loads(message("ALERTS"))


def test_the_mail_that_is_shown_is_that_which_is_sent() -> None:
    mail, body = parsed(message("READING-ROOM"))
    (shown,) = blocks("text")
    assert shown == f"Subject: {mail['Subject']}\n\n{body}".replace("\r\n", "\n")


def test_numbers_and_headers_that_are_named_are_so() -> None:
    assert f"refused {MOST_REFUSALS} times" in PAGE
    assert "`Matins-Signature: sha256=" in PAGE
    assert webhook.signature(b"k", letter(configured().routes[0]).at, b"")[0] == "1767323045"


def test_what_no_route_says_by_default_is_told_as_it_is() -> None:
    for route in configured().routes:
        shown = said(FLAG, route.says)
        assert (shown.patient == FLAG.patient) is (route.kind in ("hl7", "ups"))
    assert hl7.KIND in KEYS_OF_KIND
