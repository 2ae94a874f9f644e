"""Small studies one by one against several in one pass: CPU seconds of preparation and network.

.venv/bin/python benchmarks/batch.py [--write]

Both ways take turns, so that what else the machine does weighs on both. How many go in one pass is what the infer room
would choose: as many as the network takes a tenth of a second for, 16 at most.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from monai.networks.nets.resnet import ResNet  # noqa: E402

from node.config import InferSettings  # noqa: E402
from node.domain.engine import PASS_S  # noqa: E402
from node.domain.preparation import Preparation  # noqa: E402
from node.imaging.averaged import Averaged  # noqa: E402
from node.imaging.images import Image  # noqa: E402
from node.imaging.networks.efficientnet_lite import EfficientNetLite  # noqa: E402
from node.imaging.pipelines import Given, Runner, RunsMany  # noqa: E402
from tests.imaging.test_network_classes import described, runner_of  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "batch.md"
STUDIES, ROUNDS = 32, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network: CPU milliseconds a study, alone and in company."""

    name: str
    at_once: int
    alone_ms: float
    together_ms: float
    ratio: float
    #: Largest distance of two logits, as a share of the largest logit.
    apart: float


def small() -> torch.nn.Module:
    """As models/chest-xray-pneumonia: three residual networks, each asked twice."""

    def member() -> torch.nn.Module:
        return ResNet(
            block="basic",
            layers=[1, 1, 1, 1],
            block_inplanes=[16, 32, 64, 128],
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_size=3,
            conv1_t_stride=1,
            no_max_pool=True,
            num_classes=3,
        )

    return Averaged([member() for _ in range(3)], "softmax", [1])


def middle() -> torch.nn.Module:
    """EfficientNet-Lite0."""
    return EfficientNetLite(num_classes=3)


NETWORKS: dict[str, tuple[Callable[[], torch.nn.Module], int, int]] = {
    "three ResNet, asked twice, 28 × 28": (small, 1, 28),
    "EfficientNet-Lite0, 64 × 64": (middle, 3, 64),
    "EfficientNet-Lite0, 192 × 192": (middle, 3, 192),
}


def studies(side: int) -> list[Given]:
    """Single images, four times as large as the network's."""
    made = []
    for seed in range(STUDIES):
        values = np.random.default_rng(seed).integers(0, 4000, (4 * side, 4 * side)).astype(np.uint16)
        made.append(Given(images=(Image(array=values, sop_instance_uid=f"1.2.{seed}"),)))
    return made


def loaded(folder: Path, network: torch.nn.Module, channels: int, side: int) -> Runner:
    """The network as TorchScript, in the pipeline that the node has for it."""
    traced = torch.jit.trace(network.eval(), torch.zeros(1, channels, side, side))
    torch.jit.save(traced, folder / "net.ts")
    return runner_of(folder / "net.ts", described(Preparation(size=(side, side), channels=channels)))


def _cpu_s(runner: Runner, given: Given) -> float:
    """What the room would see of an idle machine."""
    started = time.process_time()
    runner.run(given)
    return time.process_time() - started


def measured(name: str, folder: Path) -> Row:
    """Both ways in turns."""
    make, channels, side = NETWORKS[name]
    torch.manual_seed(0)
    runner, givens = loaded(folder, make(), channels, side), studies(side)
    assert isinstance(runner, RunsMany)
    quickest_s = min(_cpu_s(runner, each) for each in givens[:8])
    at_once = max(1, min(InferSettings().together, int(PASS_S / quickest_s)))
    if at_once > 1:
        runner.run_many(givens[:at_once])  # the first time both ways are compared
    spent: list[tuple[float, float]] = []
    apart = 0.0
    for _ in range(ROUNDS):
        started = time.process_time()
        alone = [runner.run(each) for each in givens]
        between = time.process_time()
        together = []
        for first in range(0, STUDIES, at_once):
            some = givens[first : first + at_once]
            answers = runner.run_many(some) if len(some) > 1 else [None]
            together += [found or runner.run(each) for each, found in zip(some, answers, strict=True)]
        spent.append((between - started, time.process_time() - between))
        for one, other in zip(alone, together, strict=True):
            assert one.logits is not None and other.logits is not None  # noqa: PT018
            apart = max(apart, float(np.abs(one.logits - other.logits).max() / np.abs(one.logits).max()))
    one_s, other_s = (median(each) for each in zip(*spent, strict=True))
    return Row(
        name=name,
        at_once=at_once,
        alone_ms=one_s / STUDIES * 1000,
        together_ms=other_s / STUDIES * 1000,
        ratio=median(one / other for one, other in spent),
        apart=apart,
    )


def main() -> int:
    """Print the table; with `--write` keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        f"# {STUDIES} studies of one image: one by one against several in one pass",
        "",
        f"`benchmarks/batch.py --write`; CPU seconds of one thread, all of a reading; medians of {ROUNDS} rounds.",
        "",
        "| network | in one pass | alone, ms a study | together, ms a study | gain | logits apart (share) |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in NETWORKS:
        with tempfile.TemporaryDirectory(prefix="matins-batch-") as folder:
            row = measured(name, Path(folder))
        lines.append(
            f"| {row.name} | {row.at_once} | {row.alone_ms:.1f} | {row.together_ms:.1f} | {row.ratio:.2f} ×"
            f" | {row.apart:.0e} |"
        )
        print(lines[-1], flush=True)
    if asked.write:
        RESULTS.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
