from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.catalogue.bundle.metadata import described
from node.domain.model_card import Task
from tests.catalogue.bundles import configuration, metadata, write_bundle


def formats(given: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    found = metadata()["network_data_format"]
    return {
        "network_data_format": {
            "inputs": {"image": {**found["inputs"]["image"], **given}},
            "outputs": {"pred": {**found["outputs"]["pred"], **made}},
        }
    }


def test_a_segmentation_is_described_without_its_background(tmp_path: Path) -> None:
    found = described(write_bundle(tmp_path / "b"))
    assert (found.title, found.version, found.modality) == ("Spleen CT segmentation", "0.5.4", "CT")
    assert (found.task, found.outputs, found.inputs) == (Task.SEGMENTATION, ("spleen",), ())
    assert (found.licence, found.authors) == ("Apache-2.0", "A team")
    assert "not to be used for diagnostic purposes" in found.intended_use
    assert not found.flat


def test_several_channels_are_several_series_in_order(tmp_path: Path) -> None:
    given = {"modality": "MRI", "channel_def": {"1": "T1", "0": "T1c", "10": "X", "2": "T2"}}
    found = described(write_bundle(tmp_path / "b", more=formats(given, {})))
    assert (found.modality, found.inputs) == ("MR", ("T1c", "T1", "T2", "X"))


def test_one_number_a_class_of_an_image_is_a_classification(tmp_path: Path) -> None:
    made = {"format": "classes", "spatial_shape": [1, 2], "channel_def": {"0": "in body", "1": "out body"}}
    given = {"format": "RGB", "modality": "regular", "spatial_shape": [256, 256]}
    found = described(write_bundle(tmp_path / "b", more=formats(given, made)))
    assert (found.task, found.first_output, found.outputs) == (Task.CLASSIFICATION, 0, ("in body", "out body"))
    assert found.colour
    assert found.flat
    assert found.modality == ""


def test_a_detector_detects(tmp_path: Path) -> None:
    found = described(write_bundle(tmp_path / "b", {**configuration(), "detector": {"_target_": "RetinaNetDetector"}}))
    assert found.task is Task.DETECTION


@pytest.mark.parametrize("modality", [None, "None", "none", 3, ["CT"], "regular"])
def test_free_text_that_is_no_modality_is_none(tmp_path: Path, modality: object) -> None:
    assert described(write_bundle(tmp_path / "b", more=formats({"modality": modality}, {}))).modality == ""


@pytest.mark.parametrize("broken", [{}, {"inputs": 3, "outputs": []}, {"inputs": {"a": 1}}, None, "x"])
def test_metadata_that_is_none_is_no_trouble(tmp_path: Path, broken: object) -> None:
    found = described(write_bundle(tmp_path / "b", more={"network_data_format": broken, "version": None, "name": []}))
    assert (found.title, found.version, found.modality, found.outputs) == ("", "", "", ())


def test_controls_do_not_come_through(tmp_path: Path) -> None:
    found = described(write_bundle(tmp_path / "b", more={"name": "a\x1b[2J\r\nb\x7f"}))
    assert found.title == "a [2J b"
