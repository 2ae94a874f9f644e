"""What readers say by name: `acknowledge`, `read`, `discrepancies`, `accounts`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli import app
from node.domain.account import Account, Role
from node.domain.priority import Lane
from node.store import accounts, acknowledgements, events
from node.store.database import Database
from node.workflow import acknowledging
from node.workflow.accounts import derived, is_password
from tests import told
from tests.fakes import FakeClock

PASSWORD = "correct horse battery"
CHEAP = derived(PASSWORD, cost=2)


class Node:
    """A data folder with a night, and the commands on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = told.write_config(folder)
        self.db, self.clock, self.policy = told.night(told.settings(folder).data.folder)

    def run(self, *words: str, text: str = "") -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [*words, "--config", str(self.config)], input=text)
        return result.exit_code, result.stdout, result.stderr

    def account(self, login: str, role: Role = Role.READER) -> None:
        with self.db.transaction():
            accounts.add(self.db, Account(login=login, role=role, secret=CHEAP, created_at="2026"))

    def finding(self, *, after_report: bool = False) -> int:
        return asked(self.db, self.clock, after_report=after_report)


def asked(db: Database, clock: FakeClock, *, after_report: bool = False, study: str = told.READ) -> int:
    """Have one finding of a study wait for somebody."""
    from node.domain.acknowledgement import FindingKey
    from node.domain.finding import Code

    code = Code("50960005", "SCT", "Hemorrhage")
    key = FindingKey(model="brain", code_scheme=code.scheme, code_value=code.value)
    with db.transaction():
        acknowledgements.ask(
            db, clock.now(), study, key, code, lane=Lane.STAT, asked_by="blood", asked_s=0.0,
            due_at="2026-01-01T00:15:00+00:00", after_report=after_report, owner="maria" if after_report else "",
        )  # fmt: skip
    return acknowledgements.of_study(db, study)[-1].id


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.db.close()


def test_a_finding_is_acknowledged_by_name_and_the_list_is_no_longer_red(node: Node) -> None:
    node.finding()
    assert "NOT ACKNOWLEDGED" in node.run("worklist")[1]
    code, said, _ = node.run("acknowledge", told.READ, "--as", "maria", "--finding", "SCT:50960005")
    assert (code, said) == (0, f"{told.READ}: Hemorrhage [brain] acknowledged by maria\n")
    assert "NOT ACKNOWLEDGED" not in node.run("worklist")[1]
    assert "acknowledged, by maria" in node.run("show", told.READ)[1]


def test_where_there_are_accounts_only_a_reader_acknowledges(node: Node) -> None:
    node.finding()
    node.account("maria")
    node.account("root", Role.ADMINISTRATOR)
    for login in ("root", "otto", "hl7", "Not A Login"):
        assert node.run("acknowledge", told.READ, "--as", login)[0] == 1
    assert node.run("acknowledge", told.READ, "--as", "maria")[0] == 0


def test_nobody_acknowledges_without_a_name(node: Node) -> None:
    node.finding()
    assert node.run("acknowledge", told.READ)[0] == 2


def test_a_study_that_is_read_leaves_the_list_once(node: Node) -> None:
    assert node.run("read", told.READ, "--as", "maria", "--preliminary")[0] == 0
    assert json.loads(node.run("show", told.READ, "--json")[1])["report_state"] == "preliminary"
    assert node.run("read", told.READ, "--as", "maria")[:2] == (0, f"{told.READ}: final, told by maria\n")
    assert told.READ not in node.run("worklist", "--json")[1]
    assert node.run("read", told.READ, "--as", "maria")[0] == 1


def test_a_study_that_is_not_read_whoever_said_so_waits_again(node: Node) -> None:
    assert node.run("read", told.READ, "--as", "maria", "--not")[0] == 1
    assert node.run("read", told.READ, "--as", "otto")[0] == 0
    assert node.run("read", told.READ, "--as", "maria", "--not")[:2] == (0, f"{told.READ}: unread, told by maria\n")
    assert told.READ in node.run("worklist", "--json")[1]
    reasons = [each.reason for each in events.of_study(node.db, told.READ) if each.about == "report_state"]
    assert reasons[-1] == "taken back: it was told by otto and is not read"


def test_a_discrepancy_is_listed_with_its_owner_and_closed_with_what_was_done(node: Node) -> None:
    number = node.finding(after_report=True)
    (row,) = json.loads(node.run("discrepancies", "--json")[1])["discrepancies"]
    assert (row["discrepancy"], row["owner"], row["state"]) == (number, "maria", "due")
    assert node.run("discrepancies", "--close", str(number), "--as", "maria")[0] == 1
    assert node.run("discrepancies", "--close", str(number), "--as", "maria", "--because", "addendum")[0] == 0
    assert node.run("discrepancies")[1] == "no discrepancies\n"
    assert "addendum" in node.run("discrepancies", "--all")[1]


def test_an_account_is_made_with_a_password_that_no_argument_shows(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.workflow.accounts.COST", 2)
    file = node.folder / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o644)
    assert node.run("accounts", "add", "maria", "--password-file", str(file))[0] == 2
    file.chmod(0o600)
    assert node.run("accounts", "add", "maria", "--password-file", str(file))[:2] == (0, "maria: reader\n")
    found = accounts.account(node.db, "maria")
    assert found is not None
    assert is_password(found.secret, PASSWORD)
    assert PASSWORD not in found.secret
    assert "there is an account" in node.run("accounts", "add", "maria", "--password-file", str(file))[2]
    code, said, _ = node.run("accounts", "add", "root", "--role", "administrator", text=f"{PASSWORD}\n{PASSWORD}\n")
    assert code == 0
    assert PASSWORD not in said
    listed = json.loads(node.run("accounts", "list", "--json")[1])["accounts"]
    assert [(each["login"], each["role"]) for each in listed] == [("maria", "reader"), ("root", "administrator")]
    assert "scrypt" not in node.run("accounts", "list", "--json")[1]
    assert node.run("accounts", "remove", "maria")[0] == 0
    assert node.run("accounts", "remove", "maria")[0] == 1


@pytest.mark.parametrize("password", ["", "short", "aaaaaaaaaaaaaaaa", "maria-2026-maria"])
def test_a_password_that_is_easily_guessed_is_refused(node: Node, password: str) -> None:
    assert node.run("accounts", "add", "maria", text=f"{password}\n{password}\n")[0] == 1
    assert accounts.accounts(node.db) == []


def test_no_account_is_there_by_itself(node: Node) -> None:
    assert accounts.accounts(node.db) == []
    assert node.run("accounts", "list")[1].startswith("no accounts")


def test_what_was_said_in_the_list_is_kept_in_the_events_with_the_name(node: Node) -> None:
    node.finding()
    acknowledging.acknowledge(node.db, node.clock.now(), told.READ, by="maria")
    events = json.loads(node.run("show", told.READ, "--json")[1])["events"]
    assert [each["reason"] for each in events if each["about"] == "acknowledgement"] == ["by maria"]
