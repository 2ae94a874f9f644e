"""What is to be computed on a GPU stays there, as far as that can be said without one (see `stand_in`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from node.domain.model_card import EngineChoice
from node.errors import Failed
from node.imaging.bundle.plan import Blend, Window
from node.imaging.engines.windows import layout, walk
from node.imaging.explain import methods
from node.imaging.explain.faithfulness import MEASURES, Explained
from node.imaging.explain.subject import Subject
from node.imaging.formats import Program
from node.imaging.pipelines import Fitting, Given, Reading, coarse_to_fine, network
from tests.imaging import stand_in
from tests.imaging.explain.networks import Corner, subject
from tests.imaging.explain.test_methods import corner
from tests.imaging.networks import Bright, coarse_to_fine_card, saved
from tests.imaging.test_coarse_to_fine import ball
from tests.imaging.test_network import as_onnx, described, expected, torchscript, volume
from tests.imaging.test_zoo import Zoo, bundle_card, loaded

#: Those that are read as planned; MONAI's own tensors cannot lie on the stand-in.
PLANNED = ("spleen_ct", "short_axis_mr", "swin_abdomen_ct", "template_yaml")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return Zoo(tmp_path_factory.mktemp("zoo"))


def test_the_stand_in_computes_and_refuses_what_a_gpu_refuses():
    with stand_in.gpu() as traffic:
        there = torch.arange(6.0).to(stand_in.NAME)
        assert there.device.type == stand_in.NAME
        assert (there * 2 + torch.tensor(1.0)).cpu().tolist() == [1, 3, 5, 7, 9, 11]
        assert there[torch.tensor([1, 2])].tolist() == [1, 2]
        assert (traffic.sent_bytes, traffic.fetched_bytes, traffic.waits) == (24, 24, 2)
        for mix in (lambda: there + torch.ones(6), there.numpy, lambda: torch.stack([there, torch.ones(6)])):
            with pytest.raises((RuntimeError, TypeError)):
                mix()


@pytest.mark.parametrize("name", PLANNED)
def test_a_planned_bundle_sends_its_volume_once_and_gets_back_labels_alone(zoo: Zoo, name: str):
    series, reading = zoo.reading(name)
    card = bundle_card(zoo[name], engine=EngineChoice.AUTO)
    with stand_in.gpu() as traffic:
        runner = loaded(zoo[name], card, device=stand_in.NAME)
        weights = traffic.sent_bytes
        found = runner.run(Given(volumes={"": series}))
    assert found.labels is not None
    assert reading.labels is not None
    assert (found.labels == reading.labels).mean() >= 0.9995
    voxels = series.array.size
    assert weights
    # Beside the volume go the places that it is sampled at; beside the labels comes where any can be.
    assert series.array.nbytes <= traffic.sent_bytes - weights < 2 * series.array.nbytes + 200_000
    assert voxels <= traffic.fetched_bytes < 1.1 * voxels + 20_000


def test_windows_follow_each_other_without_waiting_and_a_bad_answer_is_told_in_the_end():
    window = Window(roi=(8, 8, 8), overlap=(0.5,) * 3, blend=Blend.GAUSSIAN, batch=2)
    values = torch.rand(1, 20, 20, 20)
    count = layout(values.shape[1:], window).count

    def answered(bad: int) -> int:
        asked = 0

        def forward(windows: torch.Tensor) -> torch.Tensor:
            nonlocal asked
            asked += 1
            return windows * (float("nan") if asked == bad else 1.0)

        with stand_in.gpu() as traffic:
            there = values.to(stand_in.NAME)
            blocks = [(block.start, block.scores.clone()) for block in walk(there, window, forward)]
            assert torch.allclose(blocks[0][1].cpu(), values[:, :4, :4], atol=1e-5)
        assert asked == count // 2
        return traffic.waits

    assert answered(bad=0) == 2
    with pytest.raises(Failed, match="not numbers"):
        answered(bad=3)


def test_a_network_file_is_read_there(tmp_path: Path):
    path = torchscript(tmp_path)
    with stand_in.gpu():
        fitting = Fitting(card=described(), folder=tmp_path, weights={"network": path}, device=stand_in.NAME)
        found = network.load(fitting).run(Given(volumes={"": volume()}))
    assert found.labels is not None
    assert np.array_equal(found.labels, expected())


def test_what_was_exported_computes_where_it_was_made_for_and_answers_where_it_was_asked():
    asked = list[str]()

    def run(values: torch.Tensor) -> torch.Tensor:
        asked.append(values.device.type)
        return values * 2

    with stand_in.gpu():
        for made_for in ("cpu", stand_in.NAME):
            for values in (torch.ones(3, 1, 2), torch.ones(3, 1, 2).to(stand_in.NAME)):
                found = Program(run, 2, torch.device(made_for))(values)
                assert found.device.type == values.device.type
                assert found.cpu().sum() == 12
    assert asked == ["cpu"] * 4 + [stand_in.NAME] * 4


def test_where_the_network_is_computed_elsewhere_that_is_told(tmp_path: Path):
    def read(device: str) -> Reading:
        made = Fitting(card=described(), folder=tmp_path, weights={"network": as_onnx(tmp_path)}, device=device)
        return network.load(made).run(Given(volumes={"": volume()}))

    here = read("cpu")
    with stand_in.gpu():
        there = read(stand_in.NAME)
    assert np.array_equal(there.labels, here.labels)
    assert set(there.notes) - set(here.notes) == {"the network was computed on the CPU: this ONNX Runtime has no GPU"}


def test_a_coarse_and_a_fine_network_read_there_what_they_read_here(tmp_path: Path):
    path = saved(Bright(), tmp_path / "bright.pt")
    made = Fitting(card=coarse_to_fine_card(), folder=tmp_path, weights={"coarse": path, "fine": path}, device="cpu")
    series = Given(volumes={"": ball((3.0, 2.0, 2.0), (12.0, -8.0, 20.0))})
    here = coarse_to_fine.load(made).run(series)
    with stand_in.gpu() as traffic:
        there = coarse_to_fine.load(replace(made, device=stand_in.NAME)).run(series)
    assert there.labels is not None
    assert there.labels.any()
    assert np.array_equal(there.labels, here.labels)
    assert traffic.waits < 20


@pytest.mark.parametrize("name", methods.names())
def test_an_explanation_and_its_faithfulness_are_the_same_there(name: str):
    method = methods.named(name)

    def explained(made: torch.nn.Module, values: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        def again(other: Subject) -> torch.Tensor:
            return method.explain(other, 50, 0)

        asked = subject(made, values, channel=1, layer="first")
        found = Explained(subject=asked, weights=again(asked), again=again, forwards=method.forwards(50), seed=0)
        figures = {key: value for measure in MEASURES for key, value in measure.figures(found).items()}
        return found.weights.cpu(), figures

    here = explained(Corner(2), corner(2))
    with stand_in.gpu():
        there = explained(Corner(2).to(stand_in.NAME), corner(2).to(stand_in.NAME))
    assert torch.allclose(there[0], here[0], atol=1e-5)
    assert here[1]
    assert there[1] == pytest.approx(here[1], rel=1e-4)
