from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli import app
from node.commands.callers import callers
from node.commands.check import Check
from node.receive.user_identity import hashed
from tests.receive.authorities import DAY, Hospital, now
from tests.receive.objects import PEER, settings_for
from tests.told import write_config

FILE = Path("/etc/matins.toml")
BOUND = {**PEER, "certificate": {"name": "scanner.example.org"}}


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path / "hospital")


def found(hospital: Hospital | None, folder: Path, peer: dict[str, object] = BOUND, **changes: object) -> list[Check]:
    receive = {} if hospital is None else {"receive": {"tls": hospital.settings(**changes)}}
    return list(callers(settings_for(folder / "var", peer, **receive), FILE, now()))


def with_own_certificate(hospital: Hospital, **dates: object) -> dict[str, str]:
    own = hospital.issue("dated", "localhost", **dates)  # type: ignore[arg-type]
    return {"certificate_file": str(own.certificate), "key_file": str(own.key)}


def test_where_nothing_is_set_nothing_is_said(tmp_path: Path):
    assert found(None, tmp_path, PEER) == []


def test_sound_files_are_told_with_their_end(hospital: Hospital, tmp_path: Path):
    own = with_own_certificate(hospital, until=now() + 90 * DAY)
    checks = found(hospital, tmp_path, revocation_file=str(hospital.revoke(until=now() + 7 * DAY)), **own)
    assert [(check.about, check.ok, check.problem) for check in checks] == [("tls", True, "")] * 3
    assert checks[0].found == f"1 certificate(s), good until {now() + 90 * DAY:%Y-%m-%d}"
    assert checks[2].found == f"1 revocation list(s), good until {now() + 7 * DAY:%Y-%m-%d}"


@pytest.mark.parametrize(
    ("since_days", "until_days", "ok", "problem"),
    [
        (-10, -1, False, "a certificate has expired on"),
        (1, 90, False, "a certificate is not valid before"),
        (-10, 12, True, "a certificate expires in 1[12] day"),
        (-10, 29, True, "a certificate expires in 2[89] day"),
        (-10, 31, True, "^$"),
    ],
)
def test_a_certificate_that_has_expired_fails_and_one_that_soon_will_warns(
    hospital: Hospital, tmp_path: Path, since_days: int, until_days: int, ok: bool, problem: str
):
    own = with_own_certificate(hospital, since=now() + since_days * DAY, until=now() + until_days * DAY)
    check = found(hospital, tmp_path, **own)[0]
    assert check.ok is ok
    assert re.search(problem, check.problem)
    if check.problem:
        assert (check.subject, check.file) == (own["certificate_file"], str(FILE))
        assert check.key == "receive.tls.certificate_file"
        assert check.remedy


@pytest.mark.parametrize(
    ("left", "ok", "problem"),
    [
        (-DAY, False, "a revocation list has expired"),
        (timedelta(hours=5), True, "a revocation list expires in [45] h"),
    ],
)
def test_a_revocation_list_past_its_time_fails_since_it_refuses_everybody(
    hospital: Hospital, tmp_path: Path, left: timedelta, ok: bool, problem: str
):
    check = found(hospital, tmp_path, revocation_file=str(hospital.revoke(until=now() + left)))[-1]
    assert check.ok is ok
    assert re.search(problem, check.problem)
    assert check.key == "receive.tls.revocation_file"


def test_a_file_that_is_missing_fails_with_file_key_and_remedy(hospital: Hospital, tmp_path: Path):
    [check] = found(hospital, tmp_path, key_file=str(tmp_path / "none.key"))
    assert not check.ok
    assert (check.file, check.key) == (str(FILE), "receive.tls.key_file")
    assert "none.key" in check.problem
    assert check.remedy


def test_a_peer_that_tls_would_refuse_is_named(hospital: Hospital, tmp_path: Path):
    check = found(hospital, tmp_path, PEER)[-1]
    assert (check.about, check.subject, check.ok) == ("peer", "SCANNER", False)
    assert check.key == "peers[0].certificate"
    assert [each for each in found(hospital, tmp_path, PEER, plain=True) if not each.ok] == []


def test_a_certificate_that_nobody_can_show_is_named(tmp_path: Path):
    [check] = found(None, tmp_path)
    assert "TLS is off" in check.problem


def test_a_passcode_file_without_a_hash_is_named(tmp_path: Path):
    file = tmp_path / "scanner.passcode"
    peer = {**PEER, "user": {"name": "night", "passcode_file": str(file)}}
    file.write_text("plain")
    [check] = found(None, tmp_path, peer)
    assert not check.ok
    assert (check.file, check.key) == (str(FILE), "peers.user.passcode_file")
    file.write_text(hashed(b"plain"))
    assert found(None, tmp_path, peer) == []


def test_check_prints_a_warning_that_does_not_fail(hospital: Hospital, tmp_path: Path):
    own = with_own_certificate(hospital, until=now() + 12 * DAY)
    config = write_config(tmp_path, **{"receive.tls": hospital.settings(**own)})
    told = CliRunner().invoke(app, ["check", "--config", str(config)])
    assert told.exit_code == 0, told.stdout
    warned = re.search(
        r"^WARN  tls \S+dated.pem: a certificate expires in 1[12] day\(s\)\n +(.*)", told.stdout, re.MULTILINE
    )
    assert warned is not None
    assert f"{config}: receive.tls.certificate_file" in warned.group(1)
    document = json.loads(CliRunner().invoke(app, ["check", "--json", "--config", str(config)]).stdout)
    assert document["ok"] is True
    assert [each["key"] for each in document["checks"] if each["problem"]] == ["receive.tls.certificate_file"]


def test_tokens_for_http_are_looked_at_and_a_wire_that_others_read_is_told(tmp_path: Path):
    token = tmp_path / "scanner.token"
    token.write_text("x" * 32)
    token.chmod(0o600)
    peer = {**PEER, "stow_token_file": str(token)}
    on = {"receive": {"stow": {"enabled": True}}}
    (check,) = callers(settings_for(tmp_path / "var", peer, **on), FILE, now())
    assert (check.about, check.ok, check.problem, check.found) == ("stow", True, "", "SCANNER may store over HTTP")
    (check,) = callers(settings_for(tmp_path / "var", peer, **on, node={"address": "0.0.0.0"}), FILE, now())
    assert (check.ok, check.problem) == (True, "tokens and patients travel in the clear")
    token.chmod(0o644)
    (check,) = callers(settings_for(tmp_path / "var", peer, **on), FILE, now())
    assert (check.ok, check.file) == (False, str(FILE))
    assert "may be read by others" in check.problem
