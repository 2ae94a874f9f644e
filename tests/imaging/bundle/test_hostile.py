"""Hostile configurations, brought through the very code that runs bundles: each is refused, and nothing is executed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle.config_parser import ConfigParser

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.imaging.bundle import configuration, steps
from tests.catalogue.bundle.test_gate import HOSTILE
from tests.catalogue.bundles import write_model


def put(value: Any, mark: Path) -> Any:
    """The value with the path of the mark in it."""
    if isinstance(value, dict):
        return {key.replace("{mark}", str(mark)): put(each, mark) for key, each in value.items()}
    if isinstance(value, list):
        return [put(each, mark) for each in value]
    return value.replace("{mark}", str(mark)) if isinstance(value, str) else value


def as_file(sections: dict[str, Any]) -> bool:
    try:
        json.dumps(sections)
    except TypeError:
        return False
    return all(len({str(key) for key in each}) == len(each) for each in _dicts(sections))


def _dicts(value: Any) -> list[dict[Any, Any]]:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    found = [each for part in inner for each in _dicts(part)]
    return [value, *found] if isinstance(value, dict) else found


FILES = {name: sections for name, sections in HOSTILE.items() if as_file(sections)}
#: Where a hostile section stands in a file, and how it is reached.
PLACES = ("in sight", "referred to", "disabled", "required by the evaluator")


def hidden(sections: dict[str, Any], place: str) -> dict[str, Any]:
    """The sections of a file in which everything hostile is reached in another way."""
    sections = copy.deepcopy(sections)
    network = sections.pop("network_def", {"_target_": "UNet"})
    safe = {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [2], "strides": [1]}
    if place == "in sight":
        return {**sections, "network_def": network, "inferer": dict(sections) or "@"}
    if place == "referred to":
        reached = {"_target_": "Compose", "transforms": ["@evil", "@held"]}
        return {**sections, "held": dict(sections), "evil": network, "network_def": safe, "preprocessing": reached}
    if place == "disabled":
        disabled = {"_target_": "Identity", "_disabled_": True, "x": network, "y": dict(sections)}
        return {**sections, "network_def": safe, "preprocessing": {"_target_": "Compose", "transforms": [disabled]}}
    wanted = {"_target_": "SupervisedEvaluator", "_requires_": ["@evil", "$@held"]}
    return {**sections, "held": dict(sections), "evil": network, "network_def": safe, "evaluator": wanted}


@pytest.mark.parametrize("place", PLACES)
def test_each_is_refused_before_anything_is_resolved(tmp_path: Path, monkeypatch, place: str) -> None:
    given: list[object] = []
    monkeypatch.setattr(ConfigParser, "__init__", lambda *arguments, **_: given.append(arguments))
    monkeypatch.chdir(tmp_path)
    folder = write_model(tmp_path / "models")
    file = folder / "bundle" / "configs" / "inference.json"
    for name, sections in FILES.items():
        file.write_text(json.dumps(put(hidden(sections, place), tmp_path / "mark")))
        with pytest.raises(Misconfigured) as caught:
            read = configuration.read(folder, task=Task.SEGMENTATION, device="cpu", own_code=False)
            steps.resolved(read, own_code=False)
        assert "inference.json" in caught.value.file, name
        assert not given, name
        assert [path.name for path in tmp_path.iterdir()] == ["models"], name
