"""From a run to a model folder that the node runs at once: card, weights, MONAI bundle, figures."""

from __future__ import annotations

import shutil
from pathlib import Path

from node.catalogue.bundle.sections import FOLDER as BUNDLE
from node.catalogue.cards import CARD, NAME, read_card
from node.domain.model_card import ModelCard, Task
from node.errors import Failed, Misconfigured
from node.learn.export import bundle, detection, evidence, page, sameness
from node.learn.export.card import drawn
from node.learn.export.card_text import document_text
from node.learn.export.trained import Making, Trained
from node.learn.export.weights import write_weights
from node.learn.recipe import FILE_NAME as RECIPE
from node.learn.split import FILE_NAME as SPLIT
from node.learn.split import read_split

__all__ = ["Making", "Trained", "export", "weight_bytes"]

#: For people, beside the card.
PAGE = "CARD.md"
_NOTES = (
    "Written by `matins train`: what stands in card.toml, and what the training knows.",
    "It is yours to change, and to trust again then; what is to stay when it is trained again goes into card.toml.",
)


def export(trained: Trained, to: Path) -> Path:
    """Write the model's folder `to`, whose last part is the model's name, and return it; nothing is left of a failure.

    What was there before is replaced.

    Raises:
        Misconfigured: the hand-written part of the card does not fit, or a file of it cannot be read.
        Failed: the weights are larger than the recipe allows, or what was exported answers otherwise than what was
            trained, or a file names a folder of this machine.
    """
    if not NAME.fullmatch(trained.recipe.name) or to.name != trained.recipe.name:
        problem = f'"{trained.recipe.name}" is not the name of {to.name}, or no name of a model'
        raise Misconfigured(RECIPE, "name", problem, "Use small letters, digits and single dashes, in both")
    # A card is read under its own name.
    beside = to.with_name(f".{to.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    arriving = beside / to.name
    try:
        arriving.mkdir(parents=True)
        _fill(trained, arriving)
        shutil.rmtree(to, ignore_errors=True)
        arriving.rename(to)
    except OSError as error:
        raise Failed(f"{to} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return to


def weight_bytes(folder: Path) -> int:
    """Bytes of all weights of an exported model."""
    return sum(file.stat().st_size for file in (folder / BUNDLE / bundle.WEIGHTS).iterdir())


def _fill(trained: Trained, folder: Path) -> None:
    names = bundle.weight_names(len(trained.members))
    size = sum(
        write_weights(member.weights, folder / name) for member, name in zip(trained.members, names, strict=True)
    )
    most = trained.recipe.export.largest_mb * 1e6
    if size > most:
        raise Failed(
            f"the weights are {size / 1e6:.1f} MB, and the recipe allows {most / 1e6:.1f} ([export] largest_mb)"
        )
    made = drawn(trained, names)
    notes = (*_NOTES, *(f"check {each}" for each in made.checks))
    (folder / CARD).write_text(document_text(made.document, notes), encoding="utf-8")
    card = _checked(folder)
    made_on, licence = trained.making.made_on.isoformat(), _licence(card, trained)
    if card.task is Task.DETECTION:
        detection.write_bundle(folder, card, trained.recipe, made_on, licence)
    same = sameness.compare(folder, trained)
    if card.task is not Task.DETECTION:
        bundle.write_bundle(folder, card, made_on, licence)
    _bring_sources(trained, folder)
    evidence.write_evidence(folder, trained)
    told = {"weights_bytes": size, "compared": same.said}
    (folder / evidence.FOLDER / "run.json").write_text(evidence.run_text(trained, told), encoding="utf-8")
    text = page.page(card, trained, evidence.digest_of(trained), made.checks, same.said, size)
    (folder / PAGE).write_text(text, encoding="utf-8")
    texts = (".toml", ".md", ".json", "")
    evidence.check_no_folders(path for path in folder.rglob("*") if path.is_file() and path.suffix in texts)


def _checked(folder: Path) -> ModelCard:
    """Read the card as the node will; a mistake in it names the hand-written part, not where it lies for now."""
    try:
        return read_card(folder)
    except Misconfigured as error:
        raise Misconfigured(f"{folder.name}/{CARD}", error.key, error.problem, error.remedy) from None


def _bring_sources(trained: Trained, folder: Path) -> None:
    """What it was made from goes with it: recipe, hand-written card, and the split if it was written before.

    Without a hand-written card there is no recipe that is the model's own: what lies there is of something else.
    """
    if not trained.recipe.card:
        return
    split = trained.beside / SPLIT
    used = not trained.private and split.is_file() and read_split(split) == trained.split
    for name in (RECIPE, trained.recipe.card, *([SPLIT] if used else [])):
        file = trained.beside / name
        if file.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / name)


def _licence(card: ModelCard, trained: Trained) -> str:
    return (
        f"{card.title} {card.version}\n\n{card.licence}\n\nTrained on {trained.dataset}; what that asks to be cited:\n"
        f"{card.citation}\n"
    )
