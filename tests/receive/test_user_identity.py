from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pynetdicom.pdu_primitives import MaximumLengthNotification, UserIdentityNegotiation

from node.config import Peer
from node.errors import Misconfigured
from node.receive import user_identity
from node.receive.user_identity import hashed, judge_user, look_at_passcodes, response_to
from tests.receive.objects import PEER, settings_for

PASSCODE = "Wíth°out sleep"


@pytest.fixture
def passcode_file(tmp_path: Path) -> Path:
    file = tmp_path / "scanner.passcode"
    file.write_text(hashed(PASSCODE.encode()))
    return file


def peer(**user: object) -> Peer:
    return Peer.model_validate({**PEER, "user": {"name": "night", **user} if user or user == {} else None})


def identity(kind: int, name: str = "night", passcode: str = "", *, answer: bool = False) -> list[object]:
    item = UserIdentityNegotiation()
    item.user_identity_type = kind
    item.primary_field, item.secondary_field = name.encode(), passcode.encode()
    item.positive_response_requested = answer
    return [MaximumLengthNotification(), item]


def test_who_has_no_user_is_asked_for_none():
    anybody = Peer.model_validate(PEER)
    assert judge_user(anybody, []) == ""
    assert judge_user(anybody, identity(2, "x", "y")) == ""
    assert response_to(anybody, identity(2, "x", "y", answer=True)) == []


def test_name_and_passcode_let_in(passcode_file: Path):
    assert judge_user(peer(passcode_file=passcode_file), identity(2, "night", PASSCODE)) == ""


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([], "showed none"),
        (identity(1), "of type 1, not 2"),
        (identity(3), "of type 3, not 2"),
        (identity(5), "of type 5, not 2"),
        (identity(2, "night", "wrong"), "not the user identity of SCANNER"),
        (identity(2, "night", PASSCODE.upper()), "not the user identity of SCANNER"),
        (identity(2, "night", ""), "not the user identity of SCANNER"),
        (identity(2, "day", PASSCODE), "not the user identity of SCANNER"),
        (identity(2, "", PASSCODE), "not the user identity of SCANNER"),
    ],
)
def test_anything_else_does_not_and_the_reason_tells_nothing_of_it(
    passcode_file: Path, items: list[object], reason: str
):
    told = judge_user(peer(passcode_file=passcode_file), items)
    assert reason in told
    assert not {"night", "day", "wrong", PASSCODE} & set(told.replace("\r", " ").split())


def test_a_name_alone_is_enough_where_no_passcode_is_kept():
    named = peer()
    assert judge_user(named, identity(1)) == ""
    assert "of type 2, not 1" in judge_user(named, identity(2, "night", "x"))
    assert "not the user identity" in judge_user(named, identity(1, "Night"))


@pytest.mark.parametrize("answer", [True, False])
def test_a_positive_response_is_given_where_it_is_asked_for(passcode_file: Path, answer: bool):
    items = identity(2, "night", PASSCODE, answer=answer)
    responses = response_to(peer(passcode_file=passcode_file), items)
    assert [item.server_response for item in responses] == [b""] * answer


def test_a_wrong_name_costs_as_much_as_a_wrong_passcode(passcode_file: Path, monkeypatch: pytest.MonkeyPatch):
    tries = []
    digest = user_identity._digest
    monkeypatch.setattr(user_identity, "_digest", lambda *values: tries.append(1) or digest(*values))
    judge_user(peer(passcode_file=passcode_file), identity(2, "day", "x"))
    judge_user(peer(passcode_file=passcode_file), identity(2, "night", "x"))
    assert len(tries) == 2


def test_the_file_holds_no_passcode_and_no_two_are_alike(passcode_file: Path):
    assert PASSCODE not in passcode_file.read_text()
    assert hashed(PASSCODE.encode()) != hashed(PASSCODE.encode())


@pytest.mark.parametrize(
    "content", ["", PASSCODE, "scrypt$1$2", "scrypt$a$8$1$AA==$AA==", "scrypt$16384$8$1$?$?", "argon2$1$1$1$AA==$AA=="]
)
def test_a_file_without_a_hash_stops_the_start_with_the_remedy(tmp_path: Path, content: str):
    file = tmp_path / "bad.passcode"
    file.write_text(content)
    settings = settings_for(tmp_path / "var", {**PEER, "user": {"name": "night", "passcode_file": str(file)}})
    with pytest.raises(Misconfigured, match="holds no hashed passcode") as caught:
        look_at_passcodes(settings)
    assert caught.value.key == "peers.user.passcode_file"
    assert "python -m node.receive.user_identity" in caught.value.remedy


def test_a_missing_file_lets_nobody_in(tmp_path: Path):
    with pytest.raises(Misconfigured, match="cannot be read"):
        judge_user(peer(passcode_file=tmp_path / "none"), identity(2, "night", PASSCODE))


def test_the_passcode_is_asked_for_and_its_hash_written_for_the_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "new.passcode"
    file.touch(0o644)
    monkeypatch.setattr(user_identity.getpass, "getpass", lambda _: PASSCODE)
    assert user_identity.main(file) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert judge_user(peer(passcode_file=file), identity(2, "night", PASSCODE)) == ""


def test_no_passcode_is_written_where_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(user_identity.getpass, "getpass", lambda _: "")
    assert user_identity.main(tmp_path / "new.passcode") == 2
    assert not (tmp_path / "new.passcode").exists()
