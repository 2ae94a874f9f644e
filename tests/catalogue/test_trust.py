from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from node.catalogue.lock import read_lock, trust
from node.catalogue.models import Model, load_models, load_models_leniently
from node.domain.model_card import Mode
from node.errors import Misconfigured
from tests.catalogue.bundles import configuration, write_model


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_model(tmp_path / "models")
    return tmp_path / "models"


def load(models: Path) -> Model:
    return load_models(models, [models / "models.lock"], {"spleen": Mode.LIVE})[0]


def rewrite(models: Path, **sections: object) -> None:
    file = models / "spleen" / "bundle" / "configs" / "inference.json"
    file.write_text(json.dumps({**configuration(), **sections}))


@pytest.mark.parametrize(
    "beside",
    [
        "bundle/configs/inference.json",
        "bundle/models/more.ts",
        "bundle/models/.hidden.onnx",
        "bundle/scripts/__init__.py",
        "bundle/scripts/__pycache__/net.cpython-311.pyc",
        "validation/case.nii.gz",
        "beside.safetensors",
        "scripts.py",
    ],
)
def test_every_file_in_the_folder_is_locked(models: Path, beside: str) -> None:
    trust(models, "spleen", models / "models.lock")
    file = models / "spleen" / beside
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"{}")
    model = load(models)
    assert not model.runs
    assert beside in model.problem


def test_weights_are_locked_once_under_their_role(models: Path) -> None:
    trust(models, "spleen", models / "models.lock")
    files = read_lock(models / "models.lock")["spleen"].files
    assert "weights:network" in files
    assert "bundle/models/model.pt" not in files
    (models / "spleen" / "bundle" / "models" / "model.pt").write_bytes(b"other")
    assert "weights:network" in load(models).problem


def test_a_linked_folder_hides_nothing(models: Path, tmp_path: Path) -> None:
    inside = models / "spleen" / "elsewhere"
    inside.mkdir()
    (models / "spleen" / "bundle" / "scripts").symlink_to(inside)
    with pytest.raises(Misconfigured, match="no plain file"):
        trust(models, "spleen", models / "models.lock")
    (models / "spleen" / "bundle" / "scripts").unlink()
    (models / "spleen" / "bundle" / "scripts").symlink_to(tmp_path)
    with pytest.raises(Misconfigured, match="leads out"):
        trust(models, "spleen", models / "models.lock")


def test_a_pipe_is_no_file_and_nobody_waits_for_it(models: Path) -> None:
    os.mkfifo(models / "spleen" / "bundle" / "models" / "pipe")
    with pytest.raises(Misconfigured, match="no plain file"):
        trust(models, "spleen", models / "models.lock")


def test_the_lock_says_what_a_configuration_builds_and_evaluates(models: Path) -> None:
    trust(models, "spleen", models / "models.lock")
    entry = read_lock(models / "models.lock")["spleen"]
    assert "UNet" in entry.runs
    assert "$@network_def.to(@device)" in entry.runs
    assert "SaveImaged" not in entry.runs
    assert not [each for each in entry.runs if "benchmark" in each]
    assert not entry.own_code
    assert load(models).runs
    assert not load(models).own_code


def test_code_of_its_own_is_trusted_only_when_allowed(models: Path) -> None:
    rewrite(models, network_def={"_target_": "scripts.net.Net"})
    with pytest.raises(Misconfigured) as caught:
        trust(models, "spleen", models / "models.lock")
    for said in ("scripts.net.Net", "bundle/configs/inference.json", "--allow-code"):
        assert said in str(caught.value)
    assert not (models / "models.lock").exists()
    trust(models, "spleen", models / "models.lock", own_code=True)
    assert load(models).runs
    assert load(models).own_code


def test_a_lock_without_the_permission_does_not_let_code_run(models: Path) -> None:
    rewrite(models, network_def={"_target_": "scripts.net.Net"})
    lock = models / "models.lock"
    trust(models, "spleen", lock, own_code=True)
    lock.write_text(lock.read_text().replace("own_code = true\n", ""))
    model = load(models)
    assert not model.runs
    assert "scripts.net.Net" in model.problem
    assert "bundle/configs/inference.json" in model.problem
    assert "matins models trust spleen --allow-code" in model.problem


def test_a_program_of_torch_export_is_code(models: Path) -> None:
    card = models / "spleen" / "model.toml"
    (models / "spleen" / "net.pt2").write_bytes(b"program")
    card.write_text(
        card.read_text().replace("file:bundle/models/model.pt", "file:net.pt2").replace('"bundle"', '"net"')
    )
    with pytest.raises(Misconfigured, match=r"net\.pt2: is a program"):
        trust(models, "spleen", models / "models.lock")
    trust(models, "spleen", models / "models.lock", own_code=True)
    assert load(models).own_code


def test_a_link_to_the_weights_is_locked_by_its_name(models: Path) -> None:
    trust(models, "spleen", models / "models.lock")
    (models / "spleen" / "bundle" / "scripts.py").symlink_to("models/model.pt")
    assert "bundle/scripts.py" in load(models).problem


@pytest.mark.parametrize("configuration", ["../../elsewhere", "/tmp/elsewhere", "..", "sub/inference", ""])
def test_a_configuration_that_lies_elsewhere_is_refused(models: Path, configuration: str) -> None:
    card = models / "spleen" / "model.toml"
    card.write_text(f'{card.read_text()}\n[parameters]\nconfiguration = "{configuration}"\n')
    source = models / "spleen" / "bundle" / "configs" / "inference.json"
    (models / "elsewhere.json").write_text(source.read_text())
    with pytest.raises(Misconfigured, match=r"parameters\.configuration"):
        trust(models, "spleen", models / "models.lock")


def _name_in_latin_1(folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9.txt")).touch()


def _link_to_itself(folder: Path) -> None:
    (folder / "bundle" / "around").symlink_to("around")


def _weights_link_to_themselves(folder: Path) -> None:
    (folder / "bundle" / "models" / "model.pt").unlink()
    (folder / "bundle" / "models" / "model.pt").symlink_to("model.pt")


def _endless_pattern(folder: Path) -> None:
    card = folder / "model.toml"
    card.write_text(card.read_text().replace('one_of = ["CT"]', 'matches = "a{99999999999999999999}"'))


def _endless_brackets(folder: Path) -> None:
    (folder / "model.toml").write_text("x = " + "[" * 20_000)


def _endless_number(folder: Path) -> None:
    (folder / "model.toml").write_text("x = " + "9" * 6000)


@pytest.mark.parametrize(
    "spoil",
    [
        _name_in_latin_1,
        _link_to_itself,
        _weights_link_to_themselves,
        _endless_pattern,
        _endless_brackets,
        _endless_number,
    ],
)
def test_a_spoilt_model_is_a_problem_of_its_own_and_the_node_goes_on(
    models: Path, spoil: Callable[[Path], None]
) -> None:
    write_model(models, "other")
    spoil(models / "spleen")
    found, problems = load_models_leniently(models, [], {})
    assert [model.card.name for model in found] == ["other"]
    assert len(problems) == 1
    with pytest.raises(Misconfigured):
        trust(models, "spleen", models / "models.lock")
