"""The models that this node has: card, files, digests, and whether each may run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from node.catalogue.cards import CARD, read_card
from node.catalogue.lock import entry_of, standing
from node.catalogue.weights import digest_of_file, files_of, locate_all
from node.domain.model_card import Mode, ModelCard
from node.domain.rule import finding_key
from node.errors import Misconfigured, Unsuitable

#: How a model is trained, beside its card, or before it has one.
RECIPE = "recipe.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model as it lies on disk."""

    card: ModelCard
    folder: Path
    #: Role → weights file; empty where one is missing.
    weights: Mapping[str, Path]
    #: SHA-256 over the digests of the weights and bundle files; empty where weights are missing.
    model_digest: str
    #: SHA-256 of the card's file.
    card_digest: str
    mode: Mode
    #: Why it cannot run, with the remedy; empty if it can.
    problem: str = ""
    #: Whether the code that it brings was looked at and allowed.
    own_code: bool = False

    @property
    def runs(self) -> bool:
        """Whether studies are given to it."""
        return self.mode is not Mode.OFF and not self.problem


def load_models(models_folder: Path, locks: Sequence[Path], modes: Mapping[str, Mode]) -> tuple[Model, ...]:
    """Read every model in `models_folder`, by name; one without a mode in `modes` is off.

    A sound model that may not run (not locked, changed, weights missing) comes back with its `problem`.

    Raises:
        Misconfigured: the first card, lock or mode that is wrong.
    """
    models, problems = load_models_leniently(models_folder, locks, modes)
    if problems:
        raise problems[0]
    return models


def load_models_leniently(
    models_folder: Path, locks: Sequence[Path], modes: Mapping[str, Mode]
) -> tuple[tuple[Model, ...], tuple[Misconfigured, ...]]:
    """As `load_models`, but return the models that could be read and the problems of the others.

    For a node that goes on receiving whatever somebody wrote into a card.
    """
    models: list[Model] = []
    problems: list[Misconfigured] = []
    folders = sorted(path for path in models_folder.iterdir() if path.is_dir() and path.name[0] not in "._")
    # What has a recipe and no card yet is a model that somebody is going to train.
    folders = [path for path in folders if (path / CARD).exists() or not (path / RECIPE).exists()]
    for folder in folders:
        try:
            models.append(_load(folder, locks, modes.get(folder.name, Mode.OFF)))
        except Misconfigured as problem:
            problems.append(problem)
    names = [folder.name for folder in folders]
    for name in sorted(modes.keys() - set(names)):
        close = get_close_matches(name, names, n=1)
        remedy = f"Did you mean {close[0]}?" if close else f"Add the folder {models_folder / name}, or remove the key"
        problems.append(Misconfigured("config.toml", f"models.{name}", "there is no such model", remedy))
    return tuple(models), tuple(problems)


def finding_codes(models: Iterable[Model]) -> frozenset[tuple[str, str]]:
    """Return what the models can find, as (model, "SCHEME:value"): what a rule may ask for."""
    return frozenset(
        (model.card.name, finding_key(code))
        for model in models
        for code in (*(segment.type for segment in model.card.segments), *(each.code for each in model.card.targets))
    )


def _load(folder: Path, locks: Sequence[Path], mode: Mode) -> Model:
    card_file = folder / CARD
    card = read_card(folder)
    try:
        weights = locate_all(card, folder, card_file)
        entry = entry_of(card_file, files_of(card, folder, weights))
    except (Unsuitable, OSError) as error:
        return Model(
            card=card,
            folder=folder,
            weights={},
            model_digest="",
            card_digest=digest_of_file(card_file),
            mode=mode,
            problem=str(error),
        )
    said = standing(card, folder, entry, locks)
    waits = f"it is to be compared with {card.shadow_of} first: `matins models promote {card.name}`"
    return Model(
        card=card,
        folder=folder,
        weights=weights,
        model_digest=entry.model_digest,
        card_digest=entry.card_digest,
        mode=mode,
        problem=said.problem or (waits if card.shadow_of and mode is Mode.LIVE else ""),
        own_code=said.own_code,
    )
