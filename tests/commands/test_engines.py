from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.catalogue import Model
from node.commands.engines import engines, summary
from node.config import Settings
from node.domain.engine import EngineEvidence, Trial
from node.domain.gate import Uncertainty
from node.domain.model_card import EngineChoice, Mode, Weights
from node.domain.preparation import Architecture
from node.errors import Failed
from node.infer import measuring
from node.infer.measuring import measured
from node.store import engine_evidence
from tests.fakes import card

EVIDENCE = EngineEvidence(
    model_digest="d" * 64, device="cpu", device_name="A Processor", threads=2, versions={"torch": "2"},
    measured_at="2026-01-02T03:04:05+00:00", cases=2, chosen="bf16",
    trials=(
        Trial(engine="fp32", dtype="float32", seconds=6.0, dice={1: 1.0}),
        Trial(engine="bf16", dtype="bfloat16", seconds=2.0, dice={1: 0.9995, 2: 0.9991}),
    ),
)  # fmt: skip


def model(folder: Path, **changes: object) -> Model:
    return Model(
        card=replace(card(), **changes), folder=folder, weights={}, model_digest="d" * 64, card_digest="c",
        mode=Mode.SHADOW,
    )  # fmt: skip


def settings(folder: Path) -> Settings:
    return Settings.model_validate({"data": {"folder": str(folder)}})


def test_check_shows_the_engine_and_its_evidence(tmp_path: Path):
    engine_evidence.write(tmp_path / "engines", EVIDENCE)
    (found,) = engines(settings(tmp_path), model(tmp_path))
    assert found.ok
    assert found.found == summary(EVIDENCE)
    assert (
        "bf16 on cpu: 3.0 × as fast as fp32; Dice at least 0.9991 on 2 case(s); A Processor, 2 threads" in found.found
    )


def test_cases_that_were_never_measured_are_a_warning(tmp_path: Path):
    (found,) = engines(settings(tmp_path), model(tmp_path, validation="cases"))
    assert found.ok
    assert found.problem == "its engines were not measured: it runs in single precision"
    assert "matins models measure" in found.remedy


def test_a_model_without_cases_or_one_that_wants_it_exact_is_not_mentioned(tmp_path: Path):
    assert list(engines(settings(tmp_path), model(tmp_path))) == []
    engine_evidence.write(tmp_path / "engines", EVIDENCE)
    assert list(engines(settings(tmp_path), model(tmp_path, engine=EngineChoice.EXACT))) == []


def test_an_ensemble_of_several_architectures_has_no_engine_and_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    weights = (
        Weights(role="network", source="file:a"),
        Weights(role="network-2", source="file:b", architecture=Architecture(name="UNet")),
    )
    changes = {
        "weights": weights, "architecture": Architecture(name="SegResNet"), "validation": "cases",
        "uncertainty": Uncertainty(method="ensemble"),
    }  # fmt: skip
    engine_evidence.write(tmp_path / "engines", EVIDENCE)
    monkeypatch.setattr(measuring, "load", lambda start: pytest.fail("loaded"))
    assert list(engines(settings(tmp_path), model(tmp_path, **changes))) == []
    with pytest.raises(Failed, match="several architectures, which runs in single precision alone"):
        measured(model(tmp_path, **changes), settings(tmp_path).infer, tmp_path, None, lambda *_: None, again=False)
    # Of one architecture, or averaged within one network, they are measured together.
    for other in ({"uncertainty": None}, {"weights": weights[:1]}):
        (found,) = engines(settings(tmp_path), model(tmp_path, **(changes | other)))
        assert found.found == summary(EVIDENCE)


def test_a_model_without_cases_is_not_measured_nor_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measuring, "load", lambda start: pytest.fail("loaded"))
    with pytest.raises(Failed, match="no validation cases"):
        measured(
            model(tmp_path), settings(tmp_path).infer, tmp_path, None, lambda *_: None, again=False
        )  # fmt: skip
