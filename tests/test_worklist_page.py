"""`node/WORKLIST.md` says what the code does."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

from starlette.routing import Route

from node.config import Settings
from node.domain.account import Role
from node.domain.acknowledgement import AcknowledgementState
from node.domain.priority import Lane
from node.store.database import open_database
from node.web import feed, sessions
from node.web.entrance import SECURE_COOKIE
from node.web.guard import _WRITING
from node.web.pages import application
from node.workflow import accounts
from node.workflow.story import worklist_story
from tests import told
from tests.fakes import FakeClock
from tests.notices import bleed
from tests.workflow.urgent import watched, with_blood

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "node" / "WORKLIST.md").read_text()


def table(heading: str) -> dict[str, str]:
    """First cell → second, of the table under that heading row."""
    rows = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return {cells[1].strip(" `"): cells[2].strip() for cells in (row.split("|") for row in rows)}


def test_the_times_are_the_defaults() -> None:
    section = Settings().acknowledge
    said = {row.split()[0]: text for row, text in table("lane").items()}
    assert said == {lane.value: f"{getattr(section.within_min, lane.value):g} min" for lane in Lane}
    assert f"within {section.discrepancy_min:g} min (`discrepancy_min`)" in PAGE


def test_the_settings_that_are_shown_load() -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    mail = {"kind": "email", "host": "h", "port": 25, "from_address": "a@b", "to": ["c@d"]}
    names = ("READING-ROOM", "ON-CALL")
    routes = [{**mail, "name": name, "when": ["escalation", "withdrawn"]} for name in names]
    settings = Settings.model_validate({**tomllib.loads(block), "routes": routes})
    assert [step.route for step in settings.acknowledge.escalation] == list(names)


def test_states_roles_and_events_are_all_there_are() -> None:
    assert table("state").keys() == {state.value for state in AcknowledgementState}
    assert table("role").keys() == {role.value for role in Role}
    assert table("event").keys() == set(feed.KINDS.values())
    assert f"Every {feed.HEARTBEAT_S:g} s" in PAGE


def test_limits_and_lifetimes_are_those_of_the_code() -> None:
    web = Settings().web
    assert f"At most {web.listeners}\n(`listeners`)" in PAGE
    assert f"{web.session_idle_s:g} s without use" in PAGE
    assert f"{web.session_s:g} s in any case (`session_s`)" in PAGE
    assert f"Passwords have {accounts.SHORTEST} to {accounts.LONGEST} characters" in PAGE
    assert f"N = {accounts.COST}, r = {accounts.BLOCK_SIZE}, p = {accounts.PARALLEL}" in PAGE
    assert f"`{SECURE_COOKIE}`" in PAGE
    tries = (
        f"After {sessions.TRIES_OF_LOGIN} wrong passwords of a login, or {sessions.TRIES_OF_ADDRESS} from one address"
    )
    assert tries in PAGE
    assert f"waits {sessions.WAIT_S:g} s" in PAGE
    assert f"{sessions.LONGEST_WAIT_S:g} s at most" in PAGE


def test_every_request_that_is_named_is_answered_and_no_other_is_there(tmp_path: Path) -> None:
    settings = told.settings(tmp_path)
    db = open_database(settings.data.folder, "web")
    served = {
        (method, re.sub(r"\{[^}]*\}", "*", route.path))
        for route in application(db, settings, FakeClock()).routes
        if isinstance(route, Route) and route.path.startswith("/api/")
        for method in (route.methods or ()) - {"HEAD"}
    }
    named = {tuple(row.split()) for row in table("request")}
    assert {(method, re.sub(r"\b(UID|NUMBER)\b", "*", path)) for method, path in named} == served
    for method, path in served:
        assert method == "GET" or _WRITING.fullmatch(path.replace("*", "1"))
    db.close()


def test_the_acknowledgement_that_is_shown_has_the_keys_that_come(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    shown = json.loads(block)
    db, clock = open_database(tmp_path / "var", "test"), FakeClock()
    with_blood(db, clock, watched(), replace(bleed(), tracking_uid="2.25.1"))
    (study,) = worklist_story(db)["studies"]
    come = study["acknowledgement"]
    assert list(come) == list(shown)
    assert list(come["findings"][0]) == list(shown["findings"][0])
    db.close()
