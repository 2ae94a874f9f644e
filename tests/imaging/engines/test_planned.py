from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from node.domain.geometry import Grid
from node.errors import Failed
from node.imaging.bundle.plan import Activation, Discretisation, Inversion, Orient, Plan, Respace, Window
from node.imaging.engines import Way, measuring, planned
from node.imaging.engines.planned import Planned
from node.imaging.pipelines import Fitting
from node.imaging.volume import Volume
from node.store import engine_evidence
from tests.fakes import card
from tests.imaging.engines.small import Bright, volume

PLAN = Plan(
    steps=(Orient(axes="RAS"), Respace(spacing_mm=(1.0, 1.0, 1.5))),
    window=Window(roi=(16, 16, 16), overlap=(0.5,) * 3, batch=4),
    activation=Activation.SOFTMAX,
    discretisation=Discretisation.ARGMAX,
    inversion=Inversion.LINEAR,
)
ARRAY = volume().numpy()[0].astype(np.int16)
GRID = Grid(ARRAY.shape, ((0.0, 0.0, 1.0, 0.0), (0.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)))
VOLUME = Volume(ARRAY, GRID, ())


def fitting(folder: Path) -> Fitting:
    return Fitting(card=card(), folder=folder, weights={}, device="cpu", model_digest="d" * 64, evidence=folder)


def fails_until(enough: Callable[[Way], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """An allocator that gives the walk of windows memory only where it asks for little enough."""
    walk = planned.walk

    def scarce(values: torch.Tensor, window: Window, forward: object, *, batch: int, pulse: object) -> object:
        def failing(windows: torch.Tensor) -> torch.Tensor:
            if not enough(batch):
                raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
            return forward(windows)

        return walk(values, window, failing, batch=batch, pulse=pulse)

    monkeypatch.setattr(planned, "walk", scarce)


def test_a_volume_comes_back_with_its_labels_in_its_own_geometry(tmp_path: Path):
    result = Planned(fitting(tmp_path), PLAN, Bright()).read([VOLUME])
    assert result.labels.shape == (1, *ARRAY.shape)
    assert (result.labels[0][ARRAY == 30] == 2).mean() > 0.8
    assert (result.labels[0] == 0)[ARRAY == 0].mean() > 0.95
    assert set(result.timings) == {"prepare_s", "model_s", "finish_s"}
    assert result.notes == ()


def test_a_lack_of_memory_is_told_and_the_labels_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    expected = Planned(fitting(tmp_path), PLAN, Bright()).read([VOLUME]).labels
    fails_until(lambda batch: batch == 1, monkeypatch)
    result = Planned(fitting(tmp_path), PLAN, Bright()).read([VOLUME])
    assert result.notes == ("memory ran out: one window at a time",)
    assert np.array_equal(result.labels, expected)


def test_memory_that_never_suffices_fails_this_study_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runner = Planned(fitting(tmp_path), PLAN, Bright())
    with monkeypatch.context() as scarce:
        fails_until(lambda batch: False, scarce)
        with pytest.raises(Failed, match="memory ran out, and there is no way that needs less"):
            runner.read([VOLUME])
    assert runner.read([VOLUME]).notes == ()


def test_a_network_that_raises_fails_this_study_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runner = Planned(fitting(tmp_path), PLAN, Bright())
    with monkeypatch.context() as broken:

        def fails(*_: object, **__: object) -> None:
            raise RuntimeError("Sizes of tensors must match")

        broken.setattr(planned, "walk", fails)
        with pytest.raises(Failed, match="the network failed: RuntimeError: Sizes"):
            runner.read([VOLUME])
    assert runner.read([VOLUME]).notes == ()


def test_what_was_measured_on_the_models_cases_is_what_runs_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measuring, "names", lambda: ["fp32", "bf16", "bf16-sparse"])
    case = tmp_path / "one.nii.gz"
    nibabel.save(nibabel.Nifti1Image(ARRAY.T, np.diag([-1.0, -1.0, 1.0, 1.0])), case)
    told = []
    evidence = Planned(fitting(tmp_path), PLAN, Bright()).measure(
        [case], datetime(2026, 1, 2, tzinfo=UTC), lambda *given: told.append(given)
    )
    assert [name for name, _, _ in told] == [each.engine for each in evidence.trials]
    fast = next(each for each in evidence.trials if each.engine == "bf16")
    assert not fast.problem
    assert fast.peak_bytes > 0
    assert fast.dice == {1: 1.0, 2: 1.0}
    engine_evidence.write(tmp_path, replace(evidence, chosen="bf16"))
    runner = Planned(fitting(tmp_path), PLAN, Bright())
    assert runner.way.name == "bf16"
    assert runner.read([VOLUME]).notes[0].startswith("computed with half precision (bfloat16)")
