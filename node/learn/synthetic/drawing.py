"""Synthetic images for one training: drawn once, held against what it was trained on, kept in its folder.

What draws them is made of the training part alone and is not kept; what was drawn is, so that a training that goes on
is shown the same images. They are no part of a model: nothing takes them out of the folder of a run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn import functional

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn import checkpoint
from node.learn.case import Case
from node.learn.dataset.thumbnails import thumbnail_of
from node.learn.fitting import Listener, fit
from node.learn.learners import Example, Material
from node.learn.place import Place
from node.learn.preparing import Prepared
from node.learn.recipe import Recipe, Training
from node.learn.run import Member
from node.learn.synthetic.counting import FOLDER, Counts, write_counts
from node.learn.synthetic.flow import Flow
from node.learn.synthetic.table import Synthetic

#: Images and their classes, in a training's folder of its own for them; whole, or not there.
FILE_NAME = "drawn.safetensors"
_IMAGES, _LABELS = "images", "labels"
#: So often images are drawn again in the place of those that were copies.
_ROUNDS = 3
#: Of the running mean of the weights that draws, and the largest norm of its gradients.
_AVERAGE, _CLIP = 0.99, 1.0
#: Rows and columns of the thumbnails at most.
_THUMBNAIL = 48
#: Rows of the product of thumbnails that are held at once.
_BLOCK = 256
#: Of a product of a share and a count that rounding took away.
_LEAST = 1e-9
_RECIPE = "recipe.toml"


def refuse(recipe: Recipe) -> None:
    """See that the images that a recipe asks for can be drawn; one that asks for none may be anything.

    Raises:
        Misconfigured: it is no classification of images, or names a class that there is not; names the key.
    """
    asked = recipe.synthetic
    if asked is None:
        return
    dimensions = recipe.network.arguments.get("spatial_dims", 2) if recipe.network else 2
    if recipe.task is not Task.CLASSIFICATION or dimensions != 2:
        what = "volumes" if recipe.task is Task.CLASSIFICATION else f"a {recipe.task.value if recipe.task else 'task'}"
        problem = f"draws images of a class, and this is about {what}, which is not supported"
        raise Misconfigured(_RECIPE, "synthetic", problem, "Leave the table out")
    for name in asked.classes:
        if name not in recipe.classes:
            remedy = f"The classes are {', '.join(recipe.classes)}"
            raise Misconfigured(_RECIPE, "synthetic.classes", f"names {name}, which is no class", remedy)


def widened(material: Material, member: Member, place: Place, listener: Callable[[], Listener]) -> Material:
    """Return what a training has with the images drawn for it; they are drawn, where they are not there yet.

    Only `material.train` is looked at.

    Args:
        material: what the training has.
        member: whose folder and seed it is.
        place: where the generative model is trained; the first of several processes writes.
        listener: makes what is told of that training, where there is one.

    Raises:
        Failed: the loss became no number, or the disk is full.
        Misconfigured: what the folder keeps is damaged, or of another network.
    """
    asked = material.recipe.synthetic
    if asked is None or not asked.share:
        return material
    file = member.folder / FOLDER / FILE_NAME
    stands = file.exists()
    # Nobody writes before everybody has looked.
    place.meet()
    if not stands:
        _draw(file, material, asked, member.seed, place, listener())
    place.meet()
    if place.leads:
        checkpoint.forget(file.parent)
    return dataclasses.replace(material, drawn=tuple(_read(file, material)))


def _draw(file: Path, material: Material, asked: Synthetic, seed: int, place: Place, listener: Listener) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    flow = Flow(material.train, len(material.classes), asked, seed)
    fit(flow, _schedule(asked, flow.steps, material.recipe), file.parent, seed, place, listener)
    if not place.leads:
        return
    known = thumbnails(np.stack([flow.seen(each).numpy() for each in material.train]))
    images, labels, counts = [], [], []
    for label, wanted in enumerate(_wanted(material, asked)):
        kept, drawn = [torch.empty(0, len(material.train[0].prepared.image), *flow.size)], 0
        for again in range(_ROUNDS):
            missing = wanted - sum(map(len, kept))
            if missing:
                found = flow.drawn(label, missing, (seed, label, again), place.device)
                kept.append(found[torch.from_numpy(nearest(thumbnails(found.numpy()), known) <= asked.near_copy)])
                drawn += missing
        whole = torch.cat(kept)
        images.append(whole)
        labels.append(torch.full((len(whole),), label))
        counts.append(
            Counts(name=material.classes[label], wanted=wanted, drawn=drawn, copies=drawn - len(whole), kept=len(whole))
        )
    write_counts(file.parent, counts)
    tensors = {_IMAGES: torch.cat(images).contiguous(), _LABELS: torch.cat(labels)}
    checkpoint.write_whole(file, lambda path: save_file(tensors, path))


def _schedule(asked: Synthetic, steps: int, recipe: Recipe) -> Training:
    return Training(
        epochs=-(-asked.updates // steps),
        steps=steps,
        batch=asked.batch,
        learning_rate=asked.learning_rate,
        average=_AVERAGE,
        clip=_CLIP,
        precision=recipe.training.precision,
    )


def _wanted(material: Material, asked: Synthetic) -> list[int]:
    """How many images of each class are to be there."""
    labels = [each.case.label for each in material.train]
    wanted = [
        asked.share * labels.count(label) if not asked.classes or name in asked.classes else 0.0
        for label, name in enumerate(material.classes)
    ]
    by = min(1.0, asked.most / max(1.0, sum(wanted)))
    return [int(each * by + _LEAST) for each in wanted]


def thumbnails(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what images (image, channel, row, column) are compared by, as those of a data set are."""
    size = min(_THUMBNAIL, *images.shape[2:]) if len(images) else _THUMBNAIL
    small = [thumbnail_of(each.mean(axis=0), size, is_volume=False) for each in images]
    return np.stack(small) if small else np.empty((0, size * size), np.float32)


def nearest(drawn: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far each thumbnail correlates with the one of `known` that it is most like."""
    blocks = [(drawn[top : top + _BLOCK] @ known.T).max(axis=1) for top in range(0, len(drawn), _BLOCK)]
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def _read(file: Path, material: Material) -> Iterator[Example]:
    size = material.train[0].prepared.image.shape[1:]
    try:
        found = load_file(file)
        pairs: Sequence[tuple[torch.Tensor, int]] = list(zip(found[_IMAGES], found[_LABELS].tolist(), strict=True))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise Misconfigured(file, "", "is damaged", "Remove it: the images are drawn anew") from error
    for number, (image, label) in enumerate(pairs):
        whole = image if image.shape[1:] == size else functional.interpolate(image[None], size, mode="bilinear")[0]
        case = Case(key=f"synthetic/{number:05}", label=label)
        yield Example(case=case, group=case.key, prepared=Prepared(image=whole))
