"""Networks of several architectures answer together: each is made as its weights say, and none but those allowed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from node.catalogue.preparations import check_preparation
from node.domain.finding import Code
from node.domain.gate import Uncertainty
from node.domain.model_card import ModelCard, Task, Weights
from node.domain.preparation import Architecture, Preparation
from node.domain.target import Target
from node.errors import Misconfigured
from node.imaging import doubt
from node.imaging.formats import built
from node.imaging.images import Image
from node.imaging.pipelines import STILL, Fitting, Given, Reading, network
from tests.fakes import card

CLASSIFIER = Architecture(
    name="Classifier", arguments={"in_shape": [1, 4, 4], "classes": 2, "channels": [4], "strides": [2]}
)
DEEPER = Architecture(
    name="Classifier", arguments={"in_shape": [1, 4, 4], "classes": 2, "channels": [3, 5], "strides": [2, 1]}
)
CODE = Code("30807003", "SCT", "Benign")


def mixed(second: Architecture | None = DEEPER) -> ModelCard:
    weights = (
        Weights(role="network", source="file:0.safetensors"),
        Weights(role="network-2", source="file:1.safetensors", architecture=second),
    )
    return replace(
        card(),
        pipeline="network",
        task=Task.CLASSIFICATION,
        needs_volume=False,
        segments=(),
        volumes=(),
        exclusive=True,
        weights=weights,
        preparation=Preparation(),
        architecture=CLASSIFIER,
        targets=(Target(index=0, label="a", code=CODE), Target(index=1, label="b", code=CODE)),
    )


@pytest.fixture
def fitting(tmp_path: Path) -> Fitting:
    torch.manual_seed(5)
    files = {}
    for number, architecture in enumerate((CLASSIFIER, DEEPER)):
        files["network" if not number else "network-2"] = tmp_path / f"{number}.safetensors"
        state = {key: each.contiguous() for key, each in built(architecture).state_dict().items()}
        save_file(state, tmp_path / f"{number}.safetensors")
    return Fitting(card=mixed(), folder=tmp_path, weights=files, device="cpu", evidence=tmp_path)


def shares(reading: Reading) -> np.ndarray:
    assert reading.logits is not None
    return np.exp(reading.logits) / np.exp(reading.logits).sum()


def test_shares_of_several_architectures_are_averaged_and_their_doubt_is_told(fitting: Fitting) -> None:
    picture = np.random.default_rng(1).random((4, 4)).astype(np.float32)
    image = Given(images=(Image(array=picture, sop_instance_uid="1"),))
    expected = []
    for file, architecture in zip(fitting.weights.values(), (CLASSIFIER, DEEPER), strict=True):
        member = built(architecture).eval()
        member.load_state_dict(load_file(file))
        expected.append(member(torch.from_numpy(picture)[None, None]).softmax(1).detach().numpy())
    mean = np.mean(expected, axis=0)
    assert shares(network.load(fitting).run(image)) == pytest.approx(mean, abs=1e-5)
    doubtful = replace(fitting, card=replace(fitting.card, uncertainty=Uncertainty(method="ensemble")))
    first = doubt.alone(doubtful)
    # What was measured of an engine was measured with one architecture.
    assert first.evidence is None
    runner, others = network.load(first), doubt.members(doubtful)
    reading = doubt.read(doubtful.card, runner, others, image, STILL)
    assert shares(reading) == pytest.approx(mean, abs=1e-5)
    spread = np.std([each[0, 1] for each in expected])
    assert reading.uncertainty[1] == pytest.approx(spread, abs=1e-5)
    assert "What 2 models of several architectures, in single precision, say together." in reading.notes


def test_weights_that_are_put_into_the_wrong_architecture_are_refused(fitting: Fitting) -> None:
    with pytest.raises(Misconfigured, match=r"1\.safetensors does not fit the network"):
        network.load(replace(fitting, card=mixed(None)))


def complaint(key: str, problem: str, remedy: str) -> Misconfigured:
    return Misconfigured("model.toml", key, problem, remedy)


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "node.cli.main", "Nonsense"])
def test_no_weights_name_what_is_no_network_of_those_allowed(name: str) -> None:
    with pytest.raises(Misconfigured, match=r"weights\[1\]\.architecture\.name.*is no network of MONAI nor of ours"):
        check_preparation(mixed(Architecture(name=name)), complaint)


def test_only_a_network_of_files_has_architectures() -> None:
    with pytest.raises(Misconfigured, match=r"weights.*goes with no pipeline"):
        check_preparation(replace(mixed(), pipeline="bundle"), complaint)
    check_preparation(mixed(), complaint)
