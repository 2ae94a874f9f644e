from __future__ import annotations

from pathlib import Path

import pytest

from node.config import Completeness, load_settings
from node.domain.model_card import Mode
from node.domain.rule import AllOf
from node.errors import Misconfigured

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "rules").mkdir()
    return tmp_path


def write(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text)
    return file


def test_the_file_that_is_shipped_works_and_holds_the_defaults(folder: Path) -> None:
    shipped = load_settings(ROOT / "config.toml")
    assert shipped.models["brain-t1"].mode is Mode.LIVE
    assert shipped.peers == ()
    built_in = load_settings(write(folder, ""))
    for section in ("node", "web", "receive", "infer", "retrieve", "deliver", "rank", "ups", "night"):
        assert getattr(shipped, section) == getattr(built_in, section), section
    for modality in ("default", "CR", "DX", "CT", "MR", "US"):
        assert shipped.completeness_of(modality) == built_in.completeness_of(modality), modality
    assert set(shipped.completeness["default"].model_fields_set) == set(Completeness.model_fields)


@pytest.mark.parametrize(
    ("modality", "quiet_s"), [("CR", 30), ("DX", 30), ("CT", 120), ("MR", 600), ("US", 60), ("", 60)]
)
def test_quiet_times_by_modality(folder: Path, modality: str, quiet_s: float) -> None:
    assert load_settings(write(folder, "")).completeness_of(modality).quiet_s == quiet_s
    assert load_settings(ROOT / "config.toml").completeness_of(modality).quiet_s == quiet_s
    assert load_settings(ROOT / "config.toml", quiet_s=2).completeness_of(modality).quiet_s == 2


REQUIRED = '[completeness.MR]\nrequired = [ { name = "%s", when = { field = "%s", op = "%s", value = %s } } ]'


def test_a_section_takes_what_it_leaves_out_from_the_default_one(folder: Path) -> None:
    text = "[completeness.default]\nforced_s = 900\nmax_age_days = 0\n[completeness.MR]\nforced_s = 1800"
    settings = load_settings(write(folder, text))
    found = [settings.completeness_of(name) for name in ("MR", "CT", "US")]
    assert [(each.quiet_s, each.forced_s, each.max_age_days) for each in found] == [
        (600, 1800, 0),
        (120, 900, 0),
        (60, 900, 0),
    ]


def test_series_that_a_study_has_to_hold_are_understood(folder: Path) -> None:
    clause = (
        '{ all = [ { field = "modality", op = "is", value = "MR" }, { field = "slice_count", op = ">=", value = 9 } ] }'
    )
    text = f'[completeness.MR]\nrequired = [ {{ name = "T1", when = {clause} }} ]'
    (wanted,) = load_settings(write(folder, text)).completeness_of("MR").required
    assert wanted.name == "T1"
    assert isinstance(wanted.when, AllOf)
    assert load_settings(write(folder, text)).completeness_of("CT").required == ()


SELECT = '[[retrieve.select]]\nname = "chest"\n'
PEER = """
[[peers]]
name = "PACS"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = 4242
addresses = ["127.0.0.1/32"]
roles = ["source", "destination", "archive"]
results_to = ["PACS"]
"""


def test_a_peer_as_documented_is_understood(folder: Path) -> None:
    (peer,) = load_settings(write(folder, PEER)).peers
    assert (peer.name, peer.port, peer.results_to) == ("PACS", 4242, ("PACS",))
    assert str(peer.networks[0]) == "127.0.0.1/32"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("[node]\nprot = 104", "node.prot", "unknown key"),
        ("[nod]", "nod", "unknown key"),
        ('[node]\nport = "104"', "node.port", "integer"),
        ("[node]\nport = 70000", "node.port", "65535"),
        ('[node]\nae_title = "MUCH TOO LONG A TITLE"', "node.ae_title", ""),
        ('[completeness.MR]\nquiet_s = "10 min"', "completeness.MR.quiet_s", "unit is in the key's name"),
        ("[completeness.MR]\nquiet_s = -1", "completeness.MR.quiet_s", "greater than 0"),
        ("[completeness.MR]\nquiet_min = 10", "completeness.MR.quiet_min", "unknown key"),
        ('[completeness.MR]\nrequired = "t1"', "completeness.MR.required", "not a list"),
        ('[completeness.MR]\nrequired = [ "t1" ]', "completeness.MR.required[0]", "name and a clause"),
        (REQUIRED % ("", "modality", "is", '"MR"'), "completeness.MR.required[0].name", "empty"),
        (REQUIRED % ("T1", "slices", ">=", "9"), "completeness.MR.required[0].when.field", "Choose one of"),
        (
            REQUIRED % ("T1", "series_descripton", "has", '"t1"'),
            "completeness.MR.required[0].when.field",
            "Did you mean",
        ),
        (REQUIRED % ("T1", "slice_count", "has", '"9"'), "completeness.MR.required[0].when.op", "is number"),
        (REQUIRED % ("T1", "slice_count", ">=", '"9"'), "completeness.MR.required[0].when.value", "without quotes"),
        (REQUIRED % ("T1", "modality", "matches", '"("'), "completeness.MR.required[0].when.value", "Mend it"),
        ("[completeness.MR]\nmax_age_days = -1", "completeness.MR.max_age_days", "greater than or equal to 0"),
        ('[models.brain-t1]\nmode = "on"', "models.brain-t1.mode", "live"),
        (PEER + PEER, "", "same name"),
        (PEER + PEER.replace('"PACS"', '"PACS2"'), "", "same AE title"),
        (PEER.replace('"ARCHIVE"', '"MATINS"'), "", "node's own"),
        (PEER.replace('results_to = ["PACS"]', 'results_to = ["PASC"]'), "", "names no destination: PASC"),
        (PEER.replace("port = 4242", ""), "peers.0", "needs host and port"),
        (PEER.replace('addresses = ["127.0.0.1/32"]', ""), "peers.0", "needs addresses"),
        (PEER + 'dicomweb = "http://me:word@pacs/web"', "peers.0.dicomweb", "without user"),
        ('[retrieve]\npriors_between = "22-6"', "retrieve.priors_between", "22:00-06:00"),
        ('[retrieve]\npriors_modalities = "MR"', "retrieve.priors_modalities", "same"),
        (SELECT + 'modalities = "ct"', "retrieve.select.0.modalities", 'or a list as ["CT", "MR"]'),
        (SELECT + "series_modalities = [1]", "retrieve.select.0.series_modalities", "a list"),
        (SELECT + "counts = 3", "retrieve.select.0.counts", "unknown key"),
        (SELECT + SELECT, "retrieve.select", "same name"),
        (
            SELECT + 'when = { all = [ { field = "modalty", op = "is", value = "CT" } ] }',
            "retrieve.select.0.when.all[0].field",
            "Did you mean modality",
        ),
        (PEER.replace("127.0.0.1/32", "127.0.0.1/99"), "peers.0.addresses.0", "127.0.0.1/99"),
        (PEER.replace('"archive"', '"achive"'), "peers.0.roles.2", "archive"),
        ('[data]\nfolder = "/no/such/disk/var"', "data.folder", "not mounted"),
        ('[catalogue]\nmodels_folder = "modles"', "catalogue.models_folder", "no such folder"),
        ("quiet_s = 3", "quiet_s", "unknown key"),
        ("[node", "", "not TOML"),
    ],
)
def test_a_mistake_stops_the_start_with_file_key_and_remedy(folder: Path, text: str, key: str, words: str) -> None:
    file = write(folder, text)
    with pytest.raises(Misconfigured) as caught:
        load_settings(file)
    assert str(file) in str(caught.value)
    assert caught.value.key == key
    assert words in str(caught.value)
    assert caught.value.remedy


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(Misconfigured, match="no such file"):
        load_settings(folder / "config.toml")


def test_settings_are_frozen(folder: Path) -> None:
    settings = load_settings(write(folder, ""))
    with pytest.raises(ValueError, match="frozen"):
        settings.node.port = 1  # type: ignore[misc]


def test_relative_folders_are_taken_from_the_files_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(folder, "")
    monkeypatch.chdir("/")
    settings = load_settings(file)
    assert settings.data.folder == folder / "var"
    assert settings.catalogue.models_folder == folder / "models"
    assert load_settings(file, data=folder / "elsewhere").data.folder == folder / "elsewhere"


def test_files_and_folders_of_a_peer_are_taken_from_the_files_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        '[[peers]]\nname = "OUT"\nae_title = "OUT"\nroles = ["destination"]\nsend_by = "folder"\nfolder = "outgoing"\n'
    )
    file = write(folder, f'{text}dicomweb_token_file = "/etc/pacs.token"\n')
    monkeypatch.chdir("/")
    (peer,) = load_settings(file).peers
    assert (peer.folder, peer.dicomweb_token_file) == (folder / "outgoing", Path("/etc/pacs.token"))
    assert peer.stow_token_file is None


def test_the_selector_of_priors_as_it_is_documented_is_understood(folder: Path) -> None:
    lines = (ROOT / "config.toml").read_text().splitlines()
    first = lines.index("# [[retrieve.select]]")
    last = next(number for number in range(first, len(lines)) if not lines[number].startswith("#"))
    written = "\n".join(line.removeprefix("# ") for line in lines[first:last])
    settings = load_settings(write(folder, f"{written}\n[retrieve]\npriors = 3"))
    chest, plain = settings.retrieve.selectors
    assert set(chest.model_fields_set) == set(type(chest).model_fields)
    assert (plain.name, plain.count, plain.within_days, plain.modalities) == ("priors", 3, 1825, "same")
