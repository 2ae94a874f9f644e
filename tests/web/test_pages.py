"""The pages: what a radiologist sees at dawn, and what an attacker in a patient's name does not get."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from node.domain.measures import LONG_AXIS
from node.errors import Transient
from node.store import events, findings, outcomes, reading_list
from node.store.database import Database
from node.store.occupancy import occupied
from node.web.pages import application
from node.workflow.story import study_story, worklist_story
from tests import told
from tests.fakes import FakeClock


class Browser:
    """Asks the application without a network."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def get(self, path: str, **more: object) -> httpx.Response:
        return self.request("GET", path, **more)

    def request(self, method: str, path: str, **more: object) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8042") as client:
                return await client.request(method, path, **more)

        return asyncio.run(ask())


class Site:
    """The pages over a night's store."""

    def __init__(self, folder: Path) -> None:
        settings = told.settings(folder)
        self.db, self.clock, _ = told.night(settings.data.folder)
        self.folder = settings.data.folder
        self.client = Browser(application(self.db, settings, self.clock))

    def text(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text


class Tags(HTMLParser):
    """Every element of a page with its attributes, and all its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += f" {data} "


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A night that is only read."""
    made = Site(tmp_path_factory.mktemp("night"))
    yield made
    made.db.close()


@pytest.fixture
def fresh_site(tmp_path: Path) -> Iterator[Site]:
    """A night that the test may change."""
    made = Site(tmp_path)
    yield made
    made.db.close()


PAGES = ["/", f"/studies/{told.READ}", f"/studies/{told.UNSUITED}", f"/studies/{told.ARRIVING}"]


def test_the_worklist_page_shows_every_study_in_reading_order(site: Site) -> None:
    links = [attributes["href"] for tag, attributes in Tags(site.text("/")).elements if tag == "a"]
    order = [f"/studies/{study['study_instance_uid']}" for study in worklist_story(site.db)["studies"]]
    assert [link for link in links if link in order] == order
    assert len(order) == 3


def test_the_worklist_page_shows_lane_findings_and_state(site: Site) -> None:
    words = Tags(site.text("/")).words
    for expected in ("ROUTINE", "Doe, Jane", "61 y", "Brain", "1234 mL", "done", "not applicable", "receiving"):
        assert expected in words or expected in " ".join(words.split())


def test_a_reason_is_shown_with_its_points(fresh_site: Site) -> None:
    from node.domain.priority import Lane

    reason = {"rule": "red-flag", "points": 40.0, "because": "Sudden headache & vomiting"}
    with fresh_site.db.transaction():
        place = reading_list.places(fresh_site.db, [told.READ])[told.READ]
        moved = replace(place, lane=Lane.URGENT, band=1, score=40.0, sort_key=40.0, reasons=json.dumps([reason]))
        reading_list.record_ranks(fresh_site.db, [moved])
    for page in ("/", f"/studies/{told.READ}"):
        text = fresh_site.text(page)
        assert "+40" in text
        assert "Sudden headache &amp; vomiting" in text
        assert "lane-urgent" in text


def test_the_study_page_says_which_series_suits_and_why_not(site: Site) -> None:
    words = " ".join(Tags(site.text(f"/studies/{told.UNSUITED}")).words.split())
    assert "does not suit" in words
    assert "Not MR" in words
    assert " suits " in " ".join(Tags(site.text(f"/studies/{told.READ}")).words.split())


def test_the_study_page_shows_results_and_events(site: Site) -> None:
    words = " ".join(Tags(site.text(f"/studies/{told.READ}")).words.split())
    for expected in ("PACS", "sent", "2.25.7", "Events", "work item"):
        assert expected in words


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_that_it_is_research(site: Site, page: str) -> None:
    assert "not for diagnosis" in site.text(page)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_peer_wrote_stays_text(site: Site, page: str) -> None:
    tags = Tags(site.text(page))
    assert not [tag for tag, attributes in tags.elements if tag in {"img", "iframe", "form", "style"}]
    scripts = [attributes for tag, attributes in tags.elements if tag == "script"]
    assert scripts == [{"src": "/static/matins.js", "defer": None}]
    assert not [
        name for _, attributes in tags.elements for name in attributes if name.startswith("on") or name == "style"
    ]


def test_the_attack_is_really_on_the_page(site: Site) -> None:
    assert "&lt;script&gt;" in site.text("/")
    assert "&lt;script&gt;" in site.text(f"/studies/{told.UNSUITED}")


def test_no_page_may_run_a_script_of_others_be_framed_or_be_kept(site: Site) -> None:
    for path in (*PAGES, "/api/worklist", "/healthz", "/static/matins.css", "/nothing"):
        headers = site.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_json_is_what_the_commands_print(site: Site) -> None:
    assert site.client.get("/api/worklist").json() == worklist_story(site.db, now=site.clock.now())
    assert site.client.get(f"/api/studies/{told.READ}").json() == study_story(site.db, told.READ)


def test_an_unknown_study_is_told_in_the_form_that_was_asked_for(site: Site) -> None:
    page, document = site.client.get("/studies/9.9"), site.client.get("/api/studies/9.9")
    assert (page.status_code, document.status_code) == (404, 404)
    assert "No such study" in page.text
    assert document.json() == {"error": "No such study is held here."}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/api/worklist", "/nothing"])
def test_nothing_can_be_written(site: Site, method: str, path: str) -> None:
    assert site.client.request(method, path).status_code == 405


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.evil.example:8042"])
def test_a_foreign_name_is_refused(site: Site, host: str) -> None:
    answer = site.client.get("/", headers={"Host": host})
    assert answer.status_code == 421
    assert "Doe" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8042", "127.0.0.1:9999", "[::1]:8042"])
def test_the_machines_own_names_are_answered(site: Site, host: str) -> None:
    assert site.client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/static/../pages.py", "/static/%2e%2e/pages.py", "/static/..%2fserver.py"])
def test_nothing_but_the_static_files_is_served(site: Site, path: str) -> None:
    assert site.client.get(path).status_code == 404


def test_health_is_good_while_database_and_disk_are(site: Site) -> None:
    answer = site.client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"ok": True, "checks": {"database": "ok", "disk": "ok"}}


def test_health_is_bad_while_a_room_is_dead(fresh_site: Site) -> None:
    with occupied(fresh_site.folder):
        for state, code in (("dead", 503), ("ready", 200)):
            with fresh_site.db.transaction():
                events.record(fresh_site.db, fresh_site.clock.now(), "room", "infer", after=state)
            answer = fresh_site.client.get("/healthz")
            assert answer.status_code == code
            assert answer.json()["checks"]["room infer"] == ("ok" if state == "ready" else state)


def test_a_busy_database_is_told_and_not_a_crash(fresh_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object) -> None:
        raise Transient("database: database is locked")

    monkeypatch.setattr(Database, "rows", busy)
    assert fresh_site.client.get("/healthz").status_code == 503
    assert fresh_site.client.get("/").status_code == 503
    assert fresh_site.client.get("/api/worklist").status_code == 503


def test_an_empty_worklist_says_so(tmp_path: Path) -> None:
    from node.store.database import open_database

    settings = told.settings(tmp_path)
    db = open_database(settings.data.folder, "web")
    assert "Nothing has come yet" in Browser(application(db, settings, FakeClock())).get("/").text
    db.close()


def test_the_page_of_a_study_says_what_a_model_found_in_its_own_sentence_once(fresh_site: Site) -> None:
    (outcome,) = outcomes.current(fresh_site.db, told.READ)
    (found,) = findings.of_outcome(fresh_site.db, outcome.id)
    numbers = (*found.measurements, replace(found.measurements[0], quantity=LONG_AXIS))
    said = replace(found, sentence="Brain: <volume> 1240 mL.", lesion_number=2, measurements=numbers)
    with fresh_site.db.transaction():
        findings.record(fresh_site.db, outcome.id, [said])
    page = fresh_site.text(f"/studies/{told.READ}")
    assert page.count("<p>Brain: &lt;volume&gt; 1240 mL.</p>") == 1
    assert "lesion 2" in page
    assert "Long axis" in page


def test_what_was_looked_for_and_not_seen_is_not_shown_as_if_it_were_there(fresh_site: Site) -> None:
    (outcome,) = outcomes.current(fresh_site.db, told.READ)
    (found,) = findings.of_outcome(fresh_site.db, outcome.id)
    absent = replace(found, score=0.63, operating_point=0.99, present=False, measurements=())
    with fresh_site.db.transaction():
        findings.record(fresh_site.db, outcome.id, [absent])
    assert "not seen" in fresh_site.text("/")
    assert "not seen" in fresh_site.text(f"/studies/{told.READ}")
    with fresh_site.db.transaction():
        findings.record(fresh_site.db, outcome.id, [replace(absent, present=True)])
    assert "not seen" not in fresh_site.text("/")
