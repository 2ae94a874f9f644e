"""Whether synthetic images help a classifier of few chest X-rays, and what draws them best.

.venv/bin/python benchmarks/synthetic.py [--images 200] [--epochs 30] [--seed 0] [--alone] [--run FOLDER]

Trains the network of models/chest-xray-pneumonia on so many of PneumoniaMNIST's training images, with and without
`[synthetic]`, by `[ablation]`: as many updates, the same seed; its validation images judge, and choose nothing. With
--alone besides: what a classifier learns from drawn images alone, of the flow that the node has and of a conditional
variational autoencoder. Prints what stands in benchmarks/results/synthetic.md; FOLDER goes on. Reads `pneumoniamnist`
below MATINS_TEST_DATA (else ../shared/data beside the checkout).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from node.imaging.formats import built  # noqa: E402
from node.learn import ablation, training  # noqa: E402
from node.learn.place import Place  # noqa: E402
from node.learn.recipe import Augmentation, Recipe, Splitting, Training, read_recipe  # noqa: E402
from node.learn.recipe_ways import Ablation, Way  # noqa: E402
from node.learn.run import Run  # noqa: E402
from node.learn.synthetic import drawing  # noqa: E402

DATA = Path(os.environ.get("MATINS_TEST_DATA", ROOT.parent / "shared" / "data"))
CHEST = ROOT / "models" / "chest-xray-pneumonia" / "recipe.toml"
USUAL = Augmentation(rotate_deg=10, translate=0.05, zoom=(0.9, 1.1), contrast=0.2, brightness=0.1)
WITH = "with synthetic images"


def recipe(epochs: int, seed: int) -> Recipe:
    """The shipped network on few images; nothing is chosen by what judges."""
    shipped = read_recipe(CHEST)
    return Recipe(
        name="few",
        task=shipped.task,
        classes=shipped.classes,
        split=Splitting(official=True, near_duplicate=0.93, thumbnail=28),
        preparation=shipped.preparation,
        network=shipped.network,
        augmentation=USUAL,
        training=Training(
            epochs=epochs, batch=32, learning_rate=2e-3, average=0.9, validate_every=epochs, seeds=(seed,)
        ),
        evaluation=shipped.evaluation,
        ablation=Ablation(epochs=epochs, ways=(Way(name=WITH, changes={"synthetic": {"share": 1.0}}),)),
    )


def few(folder: Path, images: int, seed: int) -> Path:
    """A data set with so many training images, and all that validate."""
    with np.load(DATA / "pneumoniamnist" / "pneumoniamnist_dev.npz") as whole:
        chosen = np.random.default_rng(seed).permutation(len(whole["train_images"]))[:images]
        parts = {name: whole[name][chosen] if name.startswith("train") else whole[name] for name in whole}
    np.savez(folder / "few.npz", **parts)
    return folder / "few.npz"


def values(images: np.ndarray) -> torch.Tensor:
    """(image, 1, row, column) as the network is given them."""
    return (torch.from_numpy(images)[:, None] / 255 - 0.57) / 0.17


def minimised(loss: Callable[[], torch.Tensor], parameters: Iterable[nn.Parameter], updates: int) -> None:
    """Follow a loss downhill."""
    optimiser = torch.optim.AdamW(parameters, 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    for _ in range(updates):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        schedule.step()


def autoencoded(images: torch.Tensor, labels: torch.Tensor, count: int) -> torch.Tensor:
    """Images, classes in turn, of a variational autoencoder that is told the class (Sohn et al., NeurIPS 2015)."""
    torch.manual_seed(0)
    down = (nn.Conv2d(3, 32, 4, 2, 1), nn.SiLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.SiLU(), nn.Flatten())
    encoder = nn.Sequential(*down, nn.Linear(64 * 49, 64))
    up = (nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.SiLU())
    begin = (nn.Linear(34, 64 * 49), nn.Unflatten(1, (64, 7, 7)), nn.SiLU())
    decoder = nn.Sequential(*begin, *up, nn.Conv2d(16, 1, 3, 1, 1))

    def loss() -> torch.Tensor:
        places = torch.randint(len(images), (32,))
        shown, classes = images[places], functional.one_hot(labels[places], 2).float()
        planes = classes[:, :, None, None].expand(-1, -1, 28, 28)
        mean, spread = encoder(torch.cat([shown, planes], 1)).chunk(2, 1)
        code = mean + torch.randn_like(mean) * (spread / 2).exp()
        missed = (decoder(torch.cat([code, classes], 1)) - shown).square().sum((1, 2, 3)).mean() / (2 * 0.15)
        return missed + 0.5 * (mean**2 + spread.exp() - spread - 1).sum(1).mean()

    minimised(loss, [*encoder.parameters(), *decoder.parameters()], 1000)
    with torch.no_grad():
        classes = functional.one_hot(torch.arange(count) % 2, 2).float()
        return decoder(torch.cat([torch.randn(count, 32), classes], 1)).clamp(images.min(), images.max())


def learnt_alone(images: torch.Tensor, labels: torch.Tensor) -> float:
    """AUC, on what validates, of the network trained on these images alone, classes alike."""
    torch.manual_seed(0)
    network = built(recipe(1, 0).network).train()
    sides = [torch.nonzero(labels == label)[:, 0] for label in (0, 1)]

    def loss() -> torch.Tensor:
        places = torch.cat([side[torch.randint(len(side), (16,))] for side in sides])
        return functional.cross_entropy(network(images[places]), labels[places])

    minimised(loss, network.parameters(), 250)
    with np.load(DATA / "pneumoniamnist" / "pneumoniamnist_dev.npz") as whole, torch.no_grad():
        truth = whole["val_labels"][:, 0] == 1
        said = (network.eval()(values(whole["val_images"])) @ torch.tensor([-1.0, 1.0])).numpy()
    higher = said[truth][:, None] - said[~truth][None]
    return float(((higher > 0) + 0.5 * (higher == 0)).mean())


def alone(dataset: Path, run: Path) -> None:
    """Print what is learnt from drawn images and nothing else, beside the real ones."""
    print("\n| trained on | AUC | CPU s to draw |\n|---|--:|--:|")
    (file,) = run.rglob(drawing.FILE_NAME)
    kept = load_file(file)
    print(f"| {len(kept['labels'])} of the flow | {learnt_alone(kept['images'], kept['labels']):.3f} | in the above |")
    with np.load(dataset) as held:
        real, labels = values(held["train_images"]), torch.from_numpy(held["train_labels"][:, 0]).long()
    began = time.process_time()
    made = autoencoded(real, labels, len(real))
    took = time.process_time() - began
    print(f"| {len(made)} of the autoencoder | {learnt_alone(made, torch.arange(len(made)) % 2):.3f} | {took:.0f} |")
    print(f"| {len(real)} real images | {learnt_alone(real, labels):.3f} | – |")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help="what is learnt from drawn images alone, besides")
    parser.add_argument("--run", type=Path, help="folder to go on in")
    given = parser.parse_args()
    folder = given.run or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    dataset, run, began = few(folder, given.images, given.seed), folder / "run", time.process_time()
    asked = recipe(given.epochs, given.seed)
    ready = training.prepare(
        training.Wish(recipe=asked, beside=ROOT, dataset=dataset, run=Run(folder=run)), training.Ears()
    )
    found = ablation.ablate(ready, Place(device=torch.device("cpu")), training.Ears(say=print))
    assert found
    took = time.process_time() - began
    print(f"\nSeed {given.seed}, {given.images} images, {given.epochs} epochs, {took:.0f} CPU s.")
    print("\n| way | figure | value | 95 % |\n|---|---|--:|--:|")
    for row in found.rows:
        for name, figure in row.figures.items():
            interval = f"{figure.low:.3f} to {figure.high:.3f}" if figure.low is not None else "–"
            print(f"| {row.name} | {name} | {figure.value:.3f} | {interval} |", flush=True)
    if given.alone:
        alone(dataset, run)


if __name__ == "__main__":
    main()
