"""Runs that have come to their end, of networks that were never trained."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from node.domain.geometry import Grid
from node.domain.model_card import Task
from node.domain.preparation import Architecture, Preparation, Values
from node.imaging.formats import built
from node.imaging.volume import Volume
from node.learn.case import Pixels
from node.learn.evaluate.evaluating import evaluate
from node.learn.export import Making, Trained
from node.learn.prediction import Prediction, SegmentFigures
from node.learn.recipe import Judging, Recipe, Training
from node.learn.run import Member
from node.learn.split import Fold, Split

CLASSES = ("benign", "malignant", "normal")
PARTS = ("anterior", "posterior")
CODE = '{ value = "30807003", scheme = "SCT", meaning = "Benign" }'
HEAD = """\
title = "Something"
version = "2.1"
purpose = "Sees something."
intended_use = "Tests."
licence = "CC-BY-4.0"
citation = "Nobody"
manufacturer = "us"
procedure = { value = "25056-3", scheme = "LN", meaning = "MRI unspecified body region" }

[[requires]]
field = "modality"
one_of = ["MR"]
because = "the modality is {value}"
"""
TARGETS = "".join(f'\n[[targets]]\nlabel = "{name.title()}"\ncode = {CODE}\n' for name in CLASSES)
SEGMENTS = "".join(
    f'\n[[segments]]\nnumber = {number}\nlabel = "{name.title()} part"\ncategory = {CODE}\ntype = {CODE}\n'
    for number, name in enumerate(PARTS, 1)
)
MAKING = Making(
    command="matins train recipe.toml --dataset DATA --seed 0",
    made_on=date(2026, 11, 21),
    device="cpu",
    seconds=12.3,
    versions={"torch": "2.13.0"},
)
PICTURES = Architecture(
    name="Classifier", arguments={"in_shape": [1, 16, 16], "classes": 3, "channels": [4, 8], "strides": [2, 2]}
)
VOLUMES = Architecture(
    name="UNet",
    arguments={"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [8, 16], "strides": [2]},
)


def classified(folder: Path, *, card: str = HEAD + TARGETS, seeds: Sequence[int] = (0, 1), members: int = 1) -> Trained:
    """A classifier of pictures, with figures."""
    recipe = Recipe(
        name="seen",
        task=Task.CLASSIFICATION,
        card=_written(folder, card),
        classes=CLASSES,
        preparation=Preparation(size=(16, 16), values=Values.ZSCORE),
        network=PICTURES,
        training=Training(seeds=tuple(seeds)),
        evaluation=Judging(positive="malignant"),
    )
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 255, (20, 24), dtype=np.uint8) for _ in range(2)]
    said = [each for seed in seeds for each in _said(seed)]
    return Trained(
        recipe=recipe,
        beside=folder,
        dataset="pictures",
        members=_members(folder, PICTURES, members),
        split=_split(),
        making=MAKING,
        evaluation=evaluate(said, recipe.evaluation, recipe.task, CLASSES),
        sheet='{"cases": 90, "classes": [{"name": "benign", "cases": 30}]}\n',
        cases=tuple(Pixels(image=each) for each in pictures),
    )


def outlined(folder: Path, *, card: str = HEAD + SEGMENTS, flips: tuple[int, ...] = (), members: int = 1) -> Trained:
    """A segmentation of volumes in windows, with figures."""
    recipe = Recipe(
        name="outlined",
        task=Task.SEGMENTATION,
        card=_written(folder, card),
        classes=PARTS,
        preparation=Preparation(spacing_mm=(1.0, 1.0, 1.0), values=Values.ZSCORE, patch=(8, 8, 8)),
        network=VOLUMES,
        evaluation=Judging(flips=flips),
    )
    figures = SegmentFigures(dice=0.9, hd95_mm=1.0, surface_dice=0.95, volume_ml=2.0, true_volume_ml=2.1)
    said = [Prediction(key=f"{n}", group=f"{n}", part="test", segments={1: figures, 2: figures}) for n in range(4)]
    return Trained(
        recipe=recipe,
        beside=folder,
        dataset="volumes",
        members=_members(folder, VOLUMES, members),
        split=_split(),
        making=MAKING,
        evaluation=evaluate(said, recipe.evaluation, recipe.task, PARTS),
        cases=(Pixels(volume=volume()),),
    )


def volume() -> Volume:
    """Noise that lies as a sagittal series does."""
    shape = (9, 12, 10)
    values = np.random.default_rng(1).integers(0, 500, shape).astype(np.int16)
    rows = ((1.2, 0.0, 0.0, 3.0), (0.0, 0.0, 1.0, -4.0), (0.0, -1.0, 0.0, 5.0), (0.0, 0.0, 0.0, 1.0))
    return Volume(values, Grid(shape, rows), tuple(map(str, range(9))), (1,) * 9)


def _written(folder: Path, card: str) -> str:
    if not card:
        return ""
    (folder / "card.toml").write_text(card)
    return "card.toml"


def _members(folder: Path, architecture: Architecture, count: int) -> tuple[Member, ...]:
    found = []
    for fold in range(count):
        torch.manual_seed(fold)
        member = Member(folder=folder / f"fold-{fold}", seed=0, fold=fold)
        member.folder.mkdir(exist_ok=True)
        state = built(architecture).state_dict()
        save_file({key: each.contiguous() for key, each in state.items()}, member.weights)
        found.append(member)
    return tuple(found)


def _split() -> Split:
    fold = Fold(train=("a/1.png",), validation=("a/2.png",), test=("a/3.png",))
    return Split(method="by hand", dataset_digest="d" * 64, folds=(fold,), groups={"a/1.png": "patient 7"})


def _said(seed: int) -> list[Prediction]:
    random = np.random.default_rng(seed)
    found = []
    for part in ("validation", "test"):
        for number in range(45):
            truth = number % 3
            logits = random.normal(0, 1, 3)
            logits[truth] += 2.0
            key = f"{part}/{number}"
            values = tuple(float(each) for each in logits)
            found.append(Prediction(key=key, group=key, part=part, seed=seed, truth=truth, logits=values))
    return found
