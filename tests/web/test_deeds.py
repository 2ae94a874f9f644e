"""What readers say on the pages, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.domain.feedback import Verdict
from node.domain.report_state import ReportState
from node.store import feedback, requests, studies
from node.web.pages import application
from node.workflow.discrepancies import discrepancies_told
from node.workflow.requests import perform
from tests import told
from tests.commands.test_attending import asked
from tests.web.reader import Browser
from tests.web.test_login import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.db.close()


@pytest.fixture
def maria(site: Site) -> Browser:
    browser = site.browser()
    browser.log_in()
    return browser


def test_a_finding_is_red_until_somebody_acknowledges_it_on_the_page(site: Site, maria: Browser) -> None:
    assert "not acknowledged" in maria.get("/").text
    assert "not acknowledged" in maria.get(f"/studies/{told.READ}").text
    answer = maria.post(f"/studies/{told.READ}/acknowledge", token=maria.token, back="study")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/studies/{told.READ}")
    assert "seen by maria" in maria.get("/").text
    assert "not acknowledged" not in maria.get("/").text
    (study,) = [each for each in maria.get("/api/worklist").json()["studies"] if each["acknowledgement"]]
    assert (study["acknowledgement"]["state"], study["acknowledgement"]["by"]) == ("acknowledged", "maria")


def test_by_json_the_same_and_a_second_one_hears_who_was_first(site: Site, maria: Browser) -> None:
    headers = {"Origin": maria.origin, "X-Matins-Token": maria.token}
    path = f"/api/studies/{told.READ}/acknowledge"
    answer = maria.send("POST", path, headers=headers, json={"code": "SCT:50960005"})
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "by": "maria"})
    again = maria.send("POST", path, headers=headers, json={})
    assert again.status_code == 409
    assert "maria has acknowledged it" in again.json()["error"]
    assert maria.send("POST", "/api/studies/9.9/acknowledge", headers=headers, json={}).status_code == 404


def test_forms_are_shown_to_readers_alone(site: Site, maria: Browser) -> None:
    assert f"/studies/{told.READ}/acknowledge" in maria.get("/").text
    nobody, root = site.browser(), site.browser()
    root.log_in("root")
    for browser in (nobody, root):
        assert "/acknowledge" not in browser.get("/").text
        assert "/read" not in browser.get(f"/studies/{told.READ}").text


@pytest.mark.parametrize("state", list(ReportState)[2:])
def test_what_is_read_is_asked_of_the_room_that_ranks(site: Site, maria: Browser, state: ReportState) -> None:
    answer = maria.post(f"/studies/{told.READ}/read", token=maria.token, report_state=state.value)
    assert answer.status_code == 303
    before = studies.study(site.db, told.READ)
    assert before is not None
    assert before.report_state is ReportState.UNREAD
    assert perform(site.db, site.clock.now(), site.policy) == 1
    assert perform(site.db, site.clock.now(), site.policy) == 0
    after = studies.study(site.db, told.READ)
    assert after is not None
    assert (after.report_state, after.report_told_by) == (state, "maria")
    assert requests.waiting(site.db) == []


def test_a_state_that_is_none_is_not_asked_for(site: Site, maria: Browser) -> None:
    assert maria.post(f"/studies/{told.READ}/read", token=maria.token, report_state="unread").status_code == 400
    assert maria.post("/studies/9.9/read", token=maria.token).status_code == 404
    assert requests.waiting(site.db) == []


def test_a_discrepancy_stands_on_the_page_until_it_is_closed_there(site: Site, maria: Browser) -> None:
    number = asked(site.db, site.clock, after_report=True, study=told.UNSUITED)
    assert "Found after the report" in maria.get("/").text
    assert "<script>alert" not in maria.get("/").text
    assert maria.get("/api/discrepancies").json() == {"discrepancies": discrepancies_told(site.db)}
    path = f"/discrepancies/{number}/close"
    assert maria.post(path, token=maria.token, because=" ").status_code == 409
    assert maria.post(path, token=maria.token, because="addendum written").status_code == 303
    assert "Found after the report" not in maria.get("/").text
    (row,) = discrepancies_told(site.db, every=True)
    assert (row["closed_by"], row["closed_because"]) == ("maria", "addendum written")


def test_what_is_not_shown_of_patients_stands_nowhere(site: Site) -> None:
    web = site.settings.web.model_copy(update={"shows": ("study_description",)})
    app = application(site.db, site.settings.model_copy(update={"web": web}), site.clock)
    browser = Browser(app)
    asked(site.db, site.clock, after_report=True, study=told.UNSUITED)
    paths = ["/", "/api/worklist", "/api/discrepancies"]
    paths += [f"{under}/studies/{uid}" for under in ("", "/api") for uid in (told.READ, told.UNSUITED)]
    for path in paths:
        text = browser.get(path).text
        for secret in ("Doe", "P1", "P&lt;2", "P<2", "alert", "A-1", "20260101", "61"):
            assert secret not in text.replace(told.READ, ""), (path, secret)
    assert "Head" in browser.get("/api/worklist").text


@pytest.mark.parametrize("path", ["/", f"/studies/{told.UNSUITED}"])
def test_what_a_peer_wrote_stays_text_for_who_is_logged_in_too(maria: Browser, path: str) -> None:
    text = maria.get(path).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_what_a_reader_makes_of_a_result_is_kept_by_name(site: Site, maria: Browser) -> None:
    headers = {"Origin": maria.origin, "X-Matins-Token": maria.token}
    path = f"/api/studies/{told.READ}/feedback"
    (model,) = {outcome["model"] for outcome in maria.get(f"/api/studies/{told.READ}").json()["outcomes"]}
    answer = maria.send("POST", path, headers=headers, json={"model": model, "verdict": "accept"})
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "by": "maria"})
    (row,) = feedback.of_study(site.db, told.READ)
    assert (row.verdict, row.given_by) == (Verdict.ACCEPT, "maria")
    assert maria.send("POST", path, headers=headers, json={"model": model, "verdict": "corrected"}).status_code == 400
    assert maria.send("POST", path, headers=headers, json={"model": "none", "verdict": "reject"}).status_code == 409
    root = site.browser()
    root.log_in("root")
    headers = {"Origin": root.origin, "X-Matins-Token": root.token}
    assert root.send("POST", path, headers=headers, json={"model": model, "verdict": "accept"}).status_code == 403
