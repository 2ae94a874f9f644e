"""The digest of the night on the page: shown to whoever may see the worklist, and to nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from node.domain.time import SystemClock
from node.store import digests
from node.workflow import digest
from node.workflow.policy import Policy
from tests.web.test_login import Site

DAY = date(2026, 1, 3)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.db.close()


def test_before_the_first_night_there_is_nothing_to_show(site: Site) -> None:
    browser = site.browser()
    browser.log_in()
    assert browser.get("/digest").status_code == 404
    assert browser.get("/api/digest").json() == {}


def test_the_last_night_is_shown_line_by_line(site: Site) -> None:
    now, policy = SystemClock().now(), Policy(site.settings, (), ())
    body = digest.gathered(site.db, now, policy, DAY)
    with site.db.transaction():
        digests.record(site.db, now, DAY, body["since"], body, [])
    browser = site.browser()
    browser.log_in()
    page = browser.get("/digest")
    assert page.status_code == 200
    assert "Night to 2026-01-03" in page.text
    assert "studies came; unread" in page.text
    assert browser.get("/api/digest").json()["day"] == "2026-01-03"
