from __future__ import annotations

from pathlib import Path

import pytest

from node.config import Settings, load_settings
from node.errors import Misconfigured

TLS = """
[receive.tls]
certificate_file = "tls/matins.pem"
key_file = "/etc/matins/matins.key"
authorities_file = "tls/authorities.pem"
revocation_file = ""
"""
PEER = """
[[peers]]
name = "SCANNER"
ae_title = "SCANNER1"
addresses = ["10.0.0.0/8"]
"""
FINGERPRINT = ":".join(["AB"] * 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "rules").mkdir()
    return tmp_path


def load(folder: Path, text: str) -> Settings:
    file = folder / "config.toml"
    file.write_text(text)
    return load_settings(file)


def test_tls_is_off_by_default(folder: Path) -> None:
    tls = load(folder, "").receive.tls
    assert not tls.is_on
    assert not tls.plain


def test_files_are_taken_from_the_settings_folder(folder: Path) -> None:
    tls = load(folder, TLS).receive.tls
    assert tls.is_on
    assert tls.certificate_file == folder / "tls/matins.pem"
    assert tls.key_file == Path("/etc/matins/matins.key")
    assert tls.revocation_file is None
    user = load(folder, PEER + 'user = { name = "night", passcode_file = "scanner.passcode" }').peers[0].user
    assert user is not None
    assert user.passcode_file == folder / "scanner.passcode"


def test_the_settings_survive_the_way_to_the_describing_process(folder: Path) -> None:
    bound = 'user = { name = "night" }\ncertificate = { name = "x.example.org" }'
    settings = load(folder, TLS + PEER + bound)
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_others_are_told_the_port_that_listens(folder: Path) -> None:
    assert load(folder, "").dicom_port == 11112
    assert load(folder, TLS).dicom_port == 2762
    assert load(folder, f"{TLS}\nplain = true").dicom_port == 11112


def test_a_fingerprint_is_taken_as_openssl_prints_it(folder: Path) -> None:
    bound = load(folder, PEER + f'certificate = {{ sha256 = ["{FINGERPRINT}", "{"cd" * 32}"] }}').peers[0].certificate
    assert bound is not None
    assert bound.sha256 == ("ab" * 32, "cd" * 32)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (TLS.replace('key_file = "/etc/matins/matins.key"', ""), "receive.tls", "give all three, or none"),
        (TLS.replace('authorities_file = "tls/authorities.pem"', ""), "receive.tls", "give all three, or none"),
        ('[receive.tls]\nrevocation_file = "x"', "receive.tls", "means nothing without"),
        (TLS + "plian = true", "receive.tls.plian", "unknown key"),
        (TLS + 'plain = "yes"', "receive.tls.plain", "boolean"),
        (PEER + "certificate = {}", "peers.0.certificate", "by sha256, by name, or by both"),
        (PEER + 'certificate = { sha256 = ["abcd"] }', "peers.0.certificate.sha256.0", "64 hexadecimal digits"),
        (PEER + 'certificate = { fingerprint = "x" }', "peers.0.certificate.fingerprint", "unknown key"),
        (PEER + 'user = { name = "" }', "peers.0.user.name", "at least 1"),
        (PEER + 'user = { name = "night", passcode = "x" }', "peers.0.user.passcode", "unknown key"),
    ],
)
def test_a_mistake_stops_the_start_with_key_and_remedy(folder: Path, text: str, key: str, words: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load(folder, text)
    assert caught.value.key == key
    assert words in str(caught.value)
    assert caught.value.remedy
