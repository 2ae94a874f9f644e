from __future__ import annotations

import os
import stat
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from node.catalogue import intake
from node.catalogue.cards import read_card
from node.cli import app
from node.domain.model_card import Task
from tests.catalogue.bundles import configuration, metadata, write_bundle

CONFIG = '[data]\nfolder = "var"\n[catalogue]\nmodels_folder = "models"\nrules_folder = "rules"\n'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name in ("models", "rules"):
        (tmp_path / name).mkdir()
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def matins(site: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments, "--config", str(site / "config.toml")])


def said(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


def bundle(site: Path, name: str = "spleen_ct", **more: Any) -> Path:
    return write_bundle(site / "incoming" / name, more=more)


def zipped(site: Path, members: dict[str, bytes]) -> Path:
    path = site / "bundle.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def members_of(folder: Path, root: str = "spleen_ct/") -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {f"{root}{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}


def test_a_bundle_becomes_a_model_that_is_neither_trusted_nor_on(site: Path) -> None:
    source = bundle(site)
    result = matins(site, "add", str(source), "--yes")
    assert result.exit_code == 0, said(result)
    card = read_card(site / "models" / "spleen-ct")
    assert (card.version, card.title, card.pipeline) == ("0.5.4", "Spleen CT segmentation", "bundle")
    assert card.intended_use == "This is an example, not to be used for diagnostic purposes"
    assert (card.licence, card.manufacturer) == ("Apache-2.0", "A team")
    assert [(each.label, each.type.value) for each in card.segments] == [("spleen", "78961009")]
    assert [each.segment_number for each in card.volumes] == [1]
    assert card.requires[0].one_of == ("CT",)
    assert card.weights[0].source == "file:bundle/models/model.pt"
    assert "check intended_use" in result.stdout
    assert "matins models trust spleen-ct" in result.stdout
    assert members_of(site / "models" / "spleen-ct" / "bundle", "") == members_of(source, "")
    assert "is in no models.lock" in said(matins(site, "list"))
    assert not (site / "models" / "models.lock").exists()
    assert sorted(path.name for path in (site / "models").iterdir()) == ["spleen-ct"]


def test_a_dry_run_shows_the_card_and_writes_nothing(site: Path) -> None:
    result = matins(site, "add", str(bundle(site)), "--yes", "--dry-run")
    assert result.exit_code == 0
    assert 'name = "spleen-ct"' in result.stdout
    assert list((site / "models").iterdir()) == []


@pytest.mark.parametrize("root", ["spleen_ct/", ""])
def test_an_archive_is_the_same_as_its_folder(site: Path, root: str) -> None:
    path = zipped(site, members_of(bundle(site), root))
    assert matins(site, "add", str(path), "--yes", "--name", "spleen").exit_code == 0
    assert (site / "models" / "spleen" / "bundle" / "configs" / "inference.json").is_file()


def test_what_nobody_knows_is_named(site: Path) -> None:
    network = metadata()["network_data_format"]
    network["inputs"]["image"]["modality"] = "regular"
    network["outputs"]["pred"]["channel_def"] = {"0": "background", "1": "spleen", "2": "thing"}
    source = bundle(site, network_data_format=network)
    asked = said(matins(site, "add", str(source)))
    assert "modality" in asked
    assert "--yes" in asked
    assert "has said" in asked
    result = matins(site, "add", str(source), "--yes")
    assert result.exit_code == 2
    assert "modality" in said(result)
    result = matins(site, "add", str(source), "--set", "modality=CT", "--set", "intended_use=Tests")
    assert "code.thing" in said(result)
    assert "code.spleen" not in said(result)
    arguments = ["--set", "modality=CT", "--set", "intended_use=Tests", "--set", "code.thing=SCT:52988006 Lesion"]
    assert matins(site, "add", str(source), *arguments).exit_code == 0
    card = read_card(site / "models" / "spleen-ct")
    assert card.intended_use == "Tests"
    assert (card.segments[1].label, card.segments[1].type.meaning) == ("thing", "Lesion")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("code.spleen=Spleen", "no code with its meaning"),
        ("colour=red", "nothing that is asked"),
        ("title", "no value"),
    ],
)
def test_an_answer_that_is_none_is_refused(site: Path, answer: str, problem: str) -> None:
    result = matins(site, "add", str(bundle(site)), "--yes", "--set", answer)
    assert result.exit_code == 2
    assert problem in said(result)
    assert list((site / "models").iterdir()) == []


def test_text_of_a_bundle_cannot_write_into_the_card(site: Path) -> None:
    title = 'x"\npipeline = "evil\\'
    source = write_bundle(site / "incoming" / "spleen_ct", more={"name": title})
    assert matins(site, "add", str(source), "--yes").exit_code == 0
    document = tomllib.loads((site / "models" / "spleen-ct" / "model.toml").read_text())
    assert document["title"] == 'x" pipeline = "evil\\'
    assert document["pipeline"] == "bundle"


def test_several_series_become_roles(site: Path) -> None:
    network = metadata()["network_data_format"]
    network["inputs"]["image"] |= {"modality": "MR", "channel_def": {"0": "T1c", "1": "T1", "2": "T2", "3": "FLAIR"}}
    assert matins(site, "add", str(bundle(site, network_data_format=network)), "--yes").exit_code == 0
    card = read_card(site / "models" / "spleen-ct")
    assert [role.name for role in card.roles] == ["T1c", "T1", "T2", "FLAIR"]
    assert all(role.requires for role in card.roles)


def test_classes_become_targets_with_their_thresholds(site: Path) -> None:
    network = metadata()["network_data_format"]
    network["inputs"]["image"] |= {"modality": "Mammogram", "spatial_shape": [299, 299]}
    network["outputs"]["pred"] |= {"format": "labels", "spatial_shape": [1, 2], "channel_def": {"0": "A", "1": "mass"}}
    source = bundle(site, network_data_format=network)
    assert matins(site, "add", str(source), "--yes", "--set", "threshold.mass=0.4").exit_code == 0
    card = read_card(site / "models" / "spleen-ct")
    assert [(each.index, each.label, each.operating_point) for each in card.targets] == [
        (0, "A", None),
        (1, "mass", 0.4),
    ]
    # Of a class that no table knows nobody has said that it is anatomy.
    assert [each.code.meaning for each in card.targets] == ["Finding", "Mass"]
    assert card.volumes == ()
    assert not card.needs_volume


def test_weights_that_are_not_there_are_named(site: Path) -> None:
    source = bundle(site)
    (source / "models" / "model.pt").unlink()
    (source / "large_files.yml").write_text("large_files: []\n")
    result = matins(site, "add", str(source), "--yes")
    assert result.exit_code == 2
    assert "large_files.yml says from where" in said(result)


def test_code_that_a_bundle_brings_is_told(site: Path) -> None:
    source = write_bundle(site / "incoming" / "b", {**configuration(), "network_def": {"_target_": "scripts.net.Net"}})
    result = matins(site, "add", str(source), "--yes")
    assert "builds scripts.net.Net" in result.stdout
    assert "--allow-code" in result.stdout


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("net.ts", []),
        ("net.onnx", ["--set", "values=window", "--set", "window=-100, 300", "--set", "patch=96,96,96"]),
        ("net.pt2", ["--set", "spacing_mm=1.5, 1.5, 2"]),
        (
            "net.safetensors",
            ["--set", "architecture=UNet", "--set", 'arguments={"spatial_dims": 3, "channels": [4, 8]}'],
        ),
    ],
)
def test_a_single_file_becomes_a_model_with_a_preparation(site: Path, name: str, answers: list[str]) -> None:
    (site / name).write_bytes(b"network")
    known = [
        "--set",
        "modality=CT",
        "--set",
        "outputs=liver, spleen",
        "--set",
        "licence=MIT",
        "--set",
        "manufacturer=us",
    ]
    result = matins(site, "add", str(site / name), "--yes", *known, *answers)
    assert result.exit_code == 0, said(result)
    card = read_card(site / "models" / "net")
    assert card.pipeline == "network"
    assert card.weights[0].source == f"file:{name}"
    assert [each.label for each in card.segments] == ["liver", "spleen"]
    assert card.preparation.window == ((-100, 300) if name == "net.onnx" else ())
    assert card.preparation.patch == ((96, 96, 96) if name == "net.onnx" else ())
    if name == "net.safetensors":
        assert card.architecture is not None
        assert card.architecture.arguments == {"spatial_dims": 3, "channels": [4, 8]}
    assert ("allow-code" in result.stdout) == (name == "net.pt2")


@pytest.mark.parametrize("modality", ["DX", "CT"])
def test_a_single_file_becomes_a_classifier_of_images_or_volumes(site: Path, modality: str) -> None:
    (site / "net.ts").write_bytes(b"network")
    size = "224, 224" if modality == "DX" else "32, 64, 64"
    answers = {"task": "classification", "modality": modality, "outputs": "mass, effusion", "licence": "MIT"}
    answers |= {"manufacturer": "us", "size": size, "mean": "0.5", "deviation": "0.25", "activation": "sigmoid"}
    answers |= {"channels": "3"} if modality == "DX" else {}
    given = [part for key, value in answers.items() for part in ("--set", f"{key}={value}")]
    result = matins(site, "add", str(site / "net.ts"), "--yes", *given)
    assert result.exit_code == 0, said(result)
    card = read_card(site / "models" / "net")
    assert (card.pipeline, card.task, card.needs_volume) == ("network", Task.CLASSIFICATION, modality == "CT")
    assert [(each.index, each.label) for each in card.targets] == [(0, "mass"), (1, "effusion")]
    assert card.preparation.size == ((224, 224) if modality == "DX" else (32, 64, 64))
    assert card.preparation.channels == (3 if modality == "DX" else 1)
    assert (card.preparation.mean, card.preparation.deviation) == ((0.5,), (0.25,))


def test_a_task_that_no_single_file_does_is_refused(site: Path) -> None:
    (site / "net.ts").write_bytes(b"network")
    result = matins(site, "add", str(site / "net.ts"), "--yes", "--set", "task=detection")
    assert result.exit_code != 0
    assert "neither segmentation nor classification" in said(result)
    assert not (site / "models" / "net").exists()


def test_weights_alone_need_the_name_of_their_network(site: Path) -> None:
    (site / "net.pt").write_bytes(b"weights")
    known = ["--set", "modality=CT", "--set", "outputs=liver", "--set", "licence=MIT", "--set", "manufacturer=us"]
    assert "architecture" in said(matins(site, "add", str(site / "net.pt"), "--yes", *known))


def test_a_model_that_is_there_stays(site: Path) -> None:
    source = bundle(site)
    assert matins(site, "add", str(source), "--yes").exit_code == 0
    result = matins(site, "add", str(source), "--yes")
    assert result.exit_code == 1
    assert "--replace" in said(result)


HOSTILE = {
    "a path that leads out": {"../evil": b"x"},
    "a path from the root": {"/tmp/evil": b"x"},
    "a path of Windows": {"a\\..\\evil": b"x"},
    "a drive": {"C:evil": b"x"},
    "a bomb": {"b/models/zero.pt": bytes(60_000_000)},
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_archive_is_refused_and_leaves_nothing(site: Path, members: dict[str, bytes]) -> None:
    path = zipped(site, {**members_of(bundle(site), "b/"), **members})
    result = matins(site, "add", str(path), "--yes", "--name", "b")
    assert result.exit_code in {1, 2}
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert list((site / "models").iterdir()) == []
    assert not (site / "evil").exists()


def test_a_damaged_archive_is_refused_and_leaves_nothing(site: Path) -> None:
    path = zipped(site, {**members_of(bundle(site), "b/"), "b/models/noise.pt": bytes(range(256)) * 200})
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("b/models/noise.pt").header_offset + 30 + len("b/models/noise.pt")
    content = bytearray(path.read_bytes())
    content[start : start + 4] = b"\xff" * 4
    path.write_bytes(content)
    result = matins(site, "add", str(path), "--yes", "--name", "b")
    assert result.exit_code == 2
    assert "cannot be unpacked" in said(result)
    assert list((site / "models").iterdir()) == []


def test_a_link_in_an_archive_is_refused(site: Path) -> None:
    path = zipped(site, members_of(bundle(site), "b/"))
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("b/models/link.pt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    result = matins(site, "add", str(path), "--yes", "--name", "b")
    assert result.exit_code == 2
    assert "is a link" in said(result)


def test_a_member_that_is_there_twice_is_refused(site: Path) -> None:
    path = zipped(site, members_of(bundle(site), "b/"))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("b/configs/inference.json", "{}")
    assert "twice" in said(matins(site, "add", str(path), "--yes", "--name", "b"))


def test_more_files_than_a_model_has_are_refused(site: Path, monkeypatch) -> None:
    monkeypatch.setattr(intake, "MOST_FILES", 3)
    result = matins(site, "add", str(bundle(site)), "--yes")
    assert result.exit_code == 1
    assert "more than 3 files" in said(result)
    assert list((site / "models").iterdir()) == []


def test_a_link_out_of_a_folder_is_refused_and_one_inside_is_its_file(site: Path) -> None:
    source = bundle(site)
    (source / "models" / "model.ts").symlink_to(source / "models" / "model.pt")
    assert matins(site, "add", str(source), "--yes").exit_code == 0
    copied = site / "models" / "spleen-ct" / "bundle" / "models" / "model.ts"
    assert copied.read_bytes() == b"weights"
    assert not copied.is_symlink()
    (source / "models" / "out.pt").symlink_to("/etc/passwd")
    assert "link out of the bundle" in said(matins(site, "add", str(source), "--yes", "--name", "b"))


def test_what_python_and_git_left_behind_stays_there(site: Path) -> None:
    source = bundle(site)
    for name in (".git/config", "scripts/__pycache__/a.pyc"):
        (source / name).parent.mkdir(parents=True)
        (source / name).write_bytes(b"x")
    assert matins(site, "add", str(source), "--yes").exit_code == 0
    files = {path.name for path in (site / "models").rglob("*")}
    assert not files & {".git", "__pycache__"}


@pytest.mark.parametrize("what", ["nothing.zip", "text.txt", "empty"])
def test_what_is_no_model_is_named(site: Path, what: str) -> None:
    (site / "text.txt").write_text("x")
    (site / "empty").mkdir()
    result = matins(site, "add", str(site / what), "--yes", "--name", "x")
    assert result.exit_code == 2
    assert "Name " in said(result)


def test_a_pipe_in_a_folder_is_refused(site: Path) -> None:
    source = bundle(site)
    os.mkfifo(source / "models" / "pipe")
    assert "no plain file" in said(matins(site, "add", str(source), "--yes"))
