"""Which images a model was made of: kept beside it as digests of their pixels, so that a copy is known by any name."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn.recipe import Recipe, read_recipe
from node.learn.recipe_export import Exporting, Members
from node.learn.split import FILE_NAME as SPLIT
from node.learn.split import Split, read_split

#: Folder beside the card where what a model was made of is told, and the recipe in it.
EVIDENCE, RECIPE = "evidence", "recipe.toml"
#: Name of the file there that has the digests.
FILE_NAME = "known.txt"
#: Letters that are kept of a SHA-256: two of a million images have the same ones once in 40 million such data sets.
LETTERS = 16
_TRAINED, _CHOSE = "trained", "chose"
_HEAD = (
    f"# Images that this model was made of: the first {LETTERS} letters of the SHA-256 of their pixels.\n"
    "# trained: it learnt from them; chose: they chose its weights, its calibration or its operating point.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Which images a model has met while it was made."""

    #: Digests of their pixels; where nobody kept these, their keys.
    trained: frozenset[str] = frozenset()
    #: They chose weights, calibration or operating point.
    chose: frozenset[str] = frozenset()
    by_pixels: bool = False
    #: Of the data set: keys are hidden under names made with it, where they could be a patient's.
    dataset_digest: str = ""

    def has(self, met: Collection[str], key: str, digest: str = "") -> bool:
        """Whether a case, of this key and with pixels of this SHA-256, is among some of these."""
        if self.by_pixels:
            return digest[:LETTERS] in met
        return key in met or hidden_name(key, self.dataset_digest) in met


def hidden_name(key: str, dataset_digest: str) -> str:
    """Another name for a case, the same in every file of one data set."""
    return hashlib.sha256(f"{dataset_digest}\0{key}".encode()).hexdigest()[:LETTERS]


def met(split: Split, recipe: Recipe) -> tuple[frozenset[str], frozenset[str]]:
    """Keys of the cases that the model of such a recipe was trained on, and of the others that chose something."""
    first, members = split.folds[0], recipe.export.members
    tests = frozenset(key for fold in split.folds for key in fold.test)
    validated = frozenset(key for fold in split.folds for key in fold.validation)
    if members in (Members.FIRST, Members.SEEDS):
        trained, chose = frozenset(first.train), frozenset(first.validation)
    else:
        trained = validated.union(*(fold.train for fold in split.folds))
        chose = frozenset()
        if members is not Members.FOLDS and not recipe.split.official:
            trained |= tests
    # Out of fold, and where nothing validates, what judges a classifier chooses its calibration and threshold as well.
    if recipe.task is Task.CLASSIFICATION and (len({fold.test for fold in split.folds}) > 1 or not validated):
        chose |= tests
    return trained, chose - trained


def known_text(split: Split, recipe: Recipe, pixels: Mapping[str, str]) -> str:
    """Write down which images a model was made of; `pixels` is key → SHA-256 of its pixels. Nothing names a case."""
    lines = {
        f"{word} {pixels[key][:LETTERS]}\n"
        for word, keys in zip((_TRAINED, _CHOSE), met(split, recipe), strict=True)
        for key in keys
        if key in pixels
    }
    return _HEAD + "".join(sorted(lines))


def known_to(folder: Path) -> Known:
    """What the evidence beside a model's card tells of the images that it was made of; nothing where there is none.

    Raises:
        Misconfigured: the evidence cannot be read.
    """
    evidence = folder / EVIDENCE
    if (evidence / FILE_NAME).is_file():
        return _read(evidence / FILE_NAME)
    if not (evidence / SPLIT).is_file():
        return Known()
    split = read_split(evidence / SPLIT)
    # Where nobody says how it was made, every case of the split is one that it may have met.
    unknown = Recipe(export=Exporting(members=Members.WHOLE))
    recipe = read_recipe(evidence / RECIPE) if (evidence / RECIPE).is_file() else unknown
    trained, chose = met(split, recipe)
    return Known(trained=trained, chose=chose, dataset_digest=split.dataset_digest)


def _read(file: Path) -> Known:
    found: dict[str, set[str]] = {_TRAINED: set(), _CHOSE: set()}
    try:
        for line in file.read_text(encoding="ascii").splitlines():
            if line and not line.startswith("#"):
                word, digest = line.split(" ")
                found[word].add(digest)
    except (OSError, ValueError, KeyError) as error:
        raise Misconfigured(file, "", f"cannot be read: {error}", "Bring it back as it was exported") from error
    return Known(trained=frozenset(found[_TRAINED]), chose=frozenset(found[_CHOSE]), by_pixels=True)
