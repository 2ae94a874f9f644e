"""Who gets in: no session, wrong role, no default password, brute force, forged forms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.domain.account import Role
from node.errors import Misconfigured
from node.store import accounts
from node.store.database import open_database
from node.web import sessions
from node.web.entrance import token_digest
from node.web.pages import application
from node.workflow import accounts as workflow
from tests import told
from tests.commands.test_attending import asked
from tests.web.reader import PASSWORD, Browser, account, token_of


class Site:
    """The pages over a night, with a reader, an administrator, and a finding that waits."""

    def __init__(self, folder: Path, **web: object) -> None:
        settings = told.settings(folder)
        self.settings = settings.model_copy(update={"web": settings.web.model_copy(update=web)})
        self.db, self.clock, self.policy = told.night(settings.data.folder)
        account(self.db, "maria")
        account(self.db, "root", Role.ADMINISTRATOR)
        asked(self.db, self.clock)
        self.app = application(self.db, self.settings, self.clock)

    def browser(self, **more: str) -> Browser:
        return Browser(self.app, **more)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.db.close()


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Site]:
    """A site that shows nothing to who is not logged in."""
    token = tmp_path / "list.token"
    token.write_text("t" * 64 + "\n")
    token.chmod(0o600)
    made = Site(tmp_path, login="always", token_file=token)
    yield made
    made.db.close()


def test_whoever_logs_in_gets_a_cookie_that_no_script_reads_and_no_other_site_sends(site: Site) -> None:
    browser = site.browser()
    assert browser.log_in().status_code == 303
    (cookie,) = [each for each in browser.set_cookies if each.startswith("matins=")]
    words = {word.strip().lower() for word in cookie.split(";")}
    assert {"httponly", "samesite=strict", "path=/"} <= words
    assert "secure" not in words
    assert "maria" in browser.get("/").text


def test_over_https_the_cookie_is_never_sent_in_the_clear(tmp_path: Path) -> None:
    site = Site(tmp_path, names=("matins.example.org",))
    browser = site.browser(origin="https://matins.example.org")
    assert browser.log_in().status_code == 303
    (cookie,) = [each for each in browser.set_cookies if each.startswith("__Host-matins=")]
    assert "Secure" in cookie
    site.db.close()


def test_a_password_is_not_taken_in_the_clear_from_elsewhere(tmp_path: Path) -> None:
    site = Site(tmp_path, names=("matins.example.org",))
    assert site.browser(origin="http://matins.example.org").log_in().status_code == 403
    site.db.close()


def test_who_has_no_account_and_whose_password_is_wrong_hear_the_same(site: Site) -> None:
    browser = site.browser()
    for login, password in (("maria", "wrong"), ("nobody", PASSWORD), ("", ""), ("maria", "")):
        answer = browser.log_in(login, password)
        assert answer.status_code == 401
        assert "do not go together" in answer.text
    assert browser.get("/api/session").json()["login"] is None


def test_no_account_and_no_password_is_there_by_itself(tmp_path: Path) -> None:
    db = open_database(tmp_path / "var", "web")
    assert accounts.accounts(db) == []
    for login in ("admin", "administrator", "matins", "root", "reader", ""):
        assert all(workflow.known(db, login, each) is None for each in ("admin", "password", "matins", login))
    db.close()


def test_after_some_wrong_passwords_even_the_right_one_has_to_wait(site: Site) -> None:
    browser = site.browser()
    for _ in range(sessions.TRIES_OF_LOGIN):
        assert browser.log_in(password="wrong").status_code == 401
    answer = browser.log_in()
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= sessions.WAIT_S
    assert site.browser().log_in("root").status_code == 303
    site.clock.forward(sessions.WAIT_S + 1)
    assert browser.log_in().status_code == 303


def test_each_further_failure_doubles_the_wait_up_to_a_limit() -> None:
    lockout = sessions.Lockout()
    waits = []
    for _ in range(sessions.TRIES_OF_LOGIN + 8):
        lockout.fail("login maria", 0.0)
        waits.append(lockout.wait_s("login maria", 0.0))
    assert waits[: sessions.TRIES_OF_LOGIN] == [0.0] * (sessions.TRIES_OF_LOGIN - 1) + [30.0]
    assert waits[sessions.TRIES_OF_LOGIN] == 60.0
    assert waits[-1] == sessions.LONGEST_WAIT_S
    lockout.clear("login maria")
    assert lockout.wait_s("login maria", 0.0) == 0.0


def test_one_address_elsewhere_cannot_try_every_login(site: Site) -> None:
    browser = site.browser(address="192.0.2.9")
    for number in range(sessions.TRIES_OF_ADDRESS):
        assert browser.log_in(f"nobody{number}", "wrong").status_code == 401
    assert browser.log_in().status_code == 429
    assert site.browser(address="192.0.2.10").log_in().status_code == 303


def test_an_administrator_sees_who_is_locked_out_and_lets_them_in(site: Site) -> None:
    browser, root = site.browser(), site.browser()
    for _ in range(sessions.TRIES_OF_LOGIN):
        browser.log_in(password="wrong")
    root.log_in("root")
    assert "for 30 s" in root.get("/accounts").text
    assert root.post("/accounts/maria/unlock", token=root.token).status_code == 303
    assert browser.log_in().status_code == 303


def test_what_another_site_sends_is_refused(site: Site) -> None:
    browser = site.browser()
    browser.log_in()
    token = browser.token
    origins = ["", "null", "https://evil.example", "http://localhost:9999", "http://localhost:8042/x", "localhost:8042"]
    for path in ("/login", "/logout", f"/studies/{told.READ}/acknowledge", "/discrepancies/1/close"):
        for origin in origins:
            headers = {"Origin": origin} if origin else {}
            assert browser.post(path, headers=headers, token=token).status_code == 403
    assert browser.get("/api/session").json()["login"] == "maria"


def test_a_form_without_the_token_of_its_session_is_refused(site: Site) -> None:
    browser = site.browser()
    browser.log_in()
    for path in (f"/studies/{told.READ}/acknowledge", f"/studies/{told.READ}/read", "/logout"):
        for token in ("", "wrong", "ünsinn"):
            assert browser.post(path, token=token).status_code == 403
    other = site.browser()
    other.log_in()
    assert browser.post(f"/studies/{told.READ}/acknowledge", token=other.token).status_code == 403


def test_a_login_form_of_nobody_is_refused(site: Site) -> None:
    browser = site.browser()
    assert browser.post("/login", login="maria", password=PASSWORD).status_code == 403
    assert browser.post("/login", login="maria", password=PASSWORD, token="").status_code == 403
    page = token_of(browser.get("/login").text)
    assert site.browser().post("/login", login="maria", password=PASSWORD, token=page).status_code == 403


def test_who_is_not_logged_in_and_whose_role_it_is_not_acknowledge_nothing(site: Site) -> None:
    nobody, root = site.browser(), site.browser()
    root.log_in("root")
    path = f"/studies/{told.READ}/acknowledge"
    assert nobody.post(path, token="x").status_code == 401
    assert root.post(path, token=root.token).status_code == 403
    maria = site.browser()
    maria.log_in()
    assert maria.get("/accounts").status_code == 403
    assert nobody.get("/accounts").status_code == 403
    assert maria.post("/accounts/root/unlock", token=maria.token).status_code == 403


def test_a_session_ends_when_it_is_ended_idle_old_or_without_its_account(site: Site) -> None:
    def logged_in() -> Browser:
        browser = site.browser()
        assert browser.log_in().status_code == 303
        return browser

    def is_in(browser: Browser) -> bool:
        return browser.get("/api/session").json()["login"] == "maria"

    browser = logged_in()
    cookies = dict(browser.cookies)
    assert browser.post("/logout", token=browser.token).status_code == 303
    browser.cookies.update(cookies)
    assert not is_in(browser)
    browser = logged_in()
    site.clock.forward(site.settings.web.session_idle_s + 1)
    assert not is_in(browser)
    browser = logged_in()
    for _ in range(14):
        site.clock.forward(site.settings.web.session_idle_s - 1)
        browser.get("/")
    assert not is_in(browser)
    browser = logged_in()
    known = accounts.account(site.db, "maria")
    assert known is not None
    with site.db.transaction():
        accounts.remove(site.db, "maria")
        accounts.add(site.db, replace(known, secret=workflow.derived("another one altogether", cost=2)))
    assert not is_in(browser)


def test_where_a_login_is_asked_for_nothing_is_shown_without(asking: Site) -> None:
    browser = asking.browser()
    for path in ("/", f"/studies/{told.READ}", "/accounts"):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    for path in ("/api/worklist", f"/api/studies/{told.READ}", "/api/events", "/api/discrepancies"):
        answer = browser.get(path)
        assert answer.status_code == 401
        assert "Doe" not in answer.text
    assert browser.get("/healthz").status_code == 200
    assert browser.get("/static/matins.css").status_code == 200
    browser.log_in()
    assert browser.get("/").status_code == 200


def test_a_program_reads_with_the_token_and_says_nothing(asking: Site) -> None:
    browser = asking.browser()
    token = {"Authorization": "Bearer " + "t" * 64}
    assert browser.get("/api/worklist", **token).status_code == 200
    for wrong in ("Bearer " + "u" * 64, "Basic " + "t" * 64, "Bearer", ""):
        assert browser.get("/api/worklist", Authorization=wrong).status_code == 401
    headers = {"Origin": browser.origin, **token}
    answer = browser.send("POST", f"/api/studies/{told.READ}/acknowledge", headers=headers, json={})
    assert answer.status_code == 403


def test_a_page_that_others_can_reach_asks_who_they_are(tmp_path: Path) -> None:
    site = Site(tmp_path, address="192.0.2.7")
    browser = site.browser(origin="https://192.0.2.7")
    assert browser.get("/api/worklist").status_code == 401
    assert browser.log_in().status_code == 303
    assert browser.get("/api/worklist").status_code == 200
    site.db.close()


@pytest.mark.parametrize(("mode", "text"), [(0o644, "t" * 64), (0o600, "short"), (0o600, "")])
def test_a_token_that_others_read_or_guess_stops_the_start(tmp_path: Path, mode: int, text: str) -> None:
    token = tmp_path / "token"
    token.write_text(text)
    token.chmod(mode)
    with pytest.raises(Misconfigured, match="token"):
        token_digest(token)


def test_a_body_that_is_long_or_strange_is_refused(site: Site) -> None:
    browser = site.browser()
    path, origin = f"/api/studies/{told.READ}/acknowledge", {"Origin": browser.origin}
    assert browser.send("POST", path, headers=origin, content=b"x" * 9000).status_code == 413
    bodies = [("text/plain", b"a=b"), ("application/x-www-form-urlencoded", b"\xff")]
    bodies += [("application/json", content) for content in (b"[", b"[1]", b'{"a": 1}')]
    for kind, content in bodies:
        answer = browser.send("POST", path, headers={**origin, "Content-Type": kind}, content=content)
        assert answer.status_code == 400


def test_what_is_written_of_a_password_is_not_the_password() -> None:
    secret = workflow.derived(PASSWORD, cost=2)
    assert workflow.is_password(secret, PASSWORD)
    assert not workflow.is_password(secret, PASSWORD + " ")
    assert workflow.derived(PASSWORD, cost=2) != secret
    assert workflow.derived(PASSWORD).split("$")[:4] == ["scrypt", "32768", "8", "3"]
