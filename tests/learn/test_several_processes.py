"""Two processes train one network: they agree on it, and one of them writes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from node.errors import Misconfigured
from node.learn import checkpoint
from node.learn.place import placed
from node.learn.recipe_text import recipe_text
from tests.learn import synthetic
from tests.learn.toys import classifying, trained_for

ROOT = Path(__file__).resolve().parents[2]
#: Scores differ from process to process: only if they agree on one do both end after the same epoch.
CHILD = """
    import sys
    from pathlib import Path
    import torch
    from torch import nn
    from node.learn.fitting import fit, SCORE
    from node.learn.place import placed
    from node.learn.recipe import Training, Precision

    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)

    class Lines:
        def __init__(self):
            torch.manual_seed(rank)
            self.network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
            self.judged, self.drawn = 0, []
        steps = 5
        def groups(self):
            return [(list(self.network.parameters()), 1.0)]
        def begin(self, epoch):
            self.network.train()
            self.network[0].requires_grad_(epoch > 0)
        def batch(self, epoch, index, random):
            self.drawn.append((epoch, index))
            points = torch.from_numpy(random.standard_normal((8, 3), dtype="float32"))
            return points, points.sum(1, keepdim=True)
        def loss(self, network, batch, device):
            return (network(batch[0]) - batch[1]).square().mean()
        def judge(self, network, device):
            self.judged += 1
            return {SCORE: float(self.judged == 2) if rank == 0 else float(self.judged)}

    told = []
    with placed("cpu", rank=rank, local_rank=rank, world=2) as place:
        learner = Lines()
        training = Training(epochs=9, patience=2, average=0.5, learning_rate=0.05, precision=Precision.SINGLE)
        fit(learner, training, folder, 7, place, told.append)
        place.meet()
    torch.save(learner.network.state_dict(), folder / f"rank-{rank}.pt")
    print(learner.judged, len(told), sorted(learner.drawn)[:3])
"""


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def both(commands: list[list[str]], cwd: Path) -> list[str]:
    """Run two processes that find each other, and return what they print."""
    port = free_port()
    running = []
    for rank, command in enumerate(commands):
        environment = os.environ | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        running.append(
            subprocess.Popen(
                command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    try:
        said = [process.communicate(timeout=500) for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    assert [process.returncode for process in running] == [0, 0], "\n".join(error for _, error in said)
    return [text for text, _ in said]


@pytest.mark.timeout(600)
def test_two_processes_end_with_one_network_after_the_same_epoch_and_one_of_them_writes(tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(textwrap.dedent(CHILD))
    said = both([[sys.executable, str(script), str(rank), str(tmp_path)] for rank in (0, 1)], tmp_path)
    # The best was the second epoch of the first process: two more, and both end. Each has drawn batches of its own.
    assert said[0].split("[")[0].split() == ["4", "16"]
    assert said[1].split("[")[0].split() == ["4", "0"]
    assert (said[0].split("[")[1], said[1].split("[")[1]) == ("(0, 0), (0, 2), (0, 4)]\n", "(0, 0), (0, 1), (0, 3)]\n")
    first, second = (torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert len(checkpoint.history(tmp_path)) == 4


def test_processes_that_nobody_started_together_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    alone = placed("cpu", rank=0, world=2)
    with pytest.raises(Misconfigured, match="2 processes are to train together, and cannot find each other"), alone:
        pytest.fail("they did")


@pytest.mark.parametrize("device", ["gpu", "cuda:7", "mps"])
def test_a_device_that_nobody_knows_is_told(device: str) -> None:
    with pytest.raises(Misconfigured, match=f"--device: {device}: is no device"), placed(device):
        pytest.fail("there is one")


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_the_command_trains_over_two_processes_and_goes_on(tmp_path: Path) -> None:
    dataset = synthetic.class_folders(tmp_path / "set")
    (tmp_path / "recipe.toml").write_text(recipe_text(trained_for(classifying(), seeds=(0, 1))))
    run = tmp_path / "run"
    command = [sys.executable, "-m", "node", "train", "recipe.toml", "--dataset", str(dataset), "--run", str(run)]
    command += ["--device", "cpu", "--no-install", "--data", str(tmp_path / "data")]
    command += ["--config", str(ROOT / "config.toml")]
    said = both([command, command], tmp_path)
    assert "training 2 of 2: seed 1, fold 1: epoch 2 of 2" in said[0]
    assert said[1] == ""
    assert {each.name for each in run.iterdir()} >= {"evaluation.json", "model", "recipe.toml", "split.json"}
    assert not list(run.rglob("*.part"))
    weights = load_file(run / "seed-1/fold-0/weights.safetensors")
    for name in ("predictions.jsonl", "weights.safetensors"):
        (run / "seed-1/fold-0" / name).unlink()
    both([command, command], tmp_path)
    again = load_file(run / "seed-1/fold-0/weights.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)
