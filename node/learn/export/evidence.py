"""What goes with a model so that others can judge it: figures, split, data sheet. No patient, and no folder of ours."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from node.errors import Failed
from node.learn.architectures import network_name
from node.learn.evaluate.evaluation import FILE_NAME as EVALUATION
from node.learn.evaluate.evaluation import Evaluation, evaluation_text
from node.learn.export.trained import Trained
from node.learn.known import FILE_NAME as KNOWN
from node.learn.known import hidden_name, known_text
from node.learn.recipe import Recipe
from node.learn.recipe_text import recipe_text
from node.learn.run import Member
from node.learn.split import FILE_NAME as SPLIT
from node.learn.split import Fold, Split, split_text

#: Folder beside the card.
FOLDER = "evidence"
SHEET = "sheet.json"
#: The recipe with everything derived.
RESOLVED = "recipe.toml"
#: Pictures in a page are letters that can spell anything.
_PICTURE = re.compile(rb"base64,[A-Za-z0-9+/=\s]+")
#: So are the streams of a PDF, which are deflated.
_STREAM = re.compile(rb"\bstream\r?\n.*?\bendstream\b", re.DOTALL)
_FOLDERS = "home|root|Users|mnt|media|tmp|var|work|srv|opt|scratch"
#: A path that begins at the root of a machine, of either kind.
_ABSOLUTE = re.compile(rf"(?<![\w.:/<])/(?:{_FOLDERS})/[^\s\"']+|(?<!\w)[A-Za-z]:\\\\[^\s\"']+".encode())


def write_evidence(folder: Path, trained: Trained) -> tuple[Path, ...]:
    """Write the evidence into the model's folder, and return its files.

    Raises:
        Failed: a file names a folder of this machine.
        OSError: it cannot be written.
    """
    into = folder / FOLDER
    into.mkdir(parents=True, exist_ok=True)
    split, evaluation = trained.split, trained.evaluation
    if trained.private:
        split = _renamed_split(split)
        evaluation = _renamed(evaluation, trained.split) if evaluation else None
    texts = {SPLIT: split_text(split), RESOLVED: recipe_text(trained.recipe)}
    if evaluation is not None:
        texts[EVALUATION] = evaluation_text(evaluation)
    if trained.sheet and not trained.private:
        texts[SHEET] = trained.sheet
    if trained.pixels:
        texts[KNOWN] = known_text(trained.split, trained.recipe, trained.pixels)
    for name, text in texts.items():
        (into / name).write_text(text, encoding="utf-8")
    for name, file in trained.evidence.items():
        shutil.copyfile(file, into / name)
    written = tuple(sorted(path for path in into.iterdir() if path.is_file()))
    check_no_folders(written)
    return written


def check_no_folders(files: Iterable[Path]) -> None:
    """Refuse files that name a folder of the machine they were made on.

    Raises:
        Failed: one does; says which, and what.
    """
    for file in files:
        said = folder_in(_STREAM.sub(b"", _PICTURE.sub(b"", file.read_bytes())))
        if said:
            raise Failed(f"{file.name} names a folder of this machine ({said}): nothing is exported")


def folder_in(content: bytes) -> str:
    """The first folder of a machine that a text names; empty: none."""
    found = _ABSOLUTE.search(content)
    return found.group().decode("utf-8", "replace")[:100] if found else ""


def digest_of(trained: Trained) -> str:
    """SHA-256 of a run: its recipe, split, networks and figures."""
    digest = hashlib.sha256()
    for part in (recipe_text(trained.recipe), split_text(trained.split), trained.sheet):
        digest.update(hashlib.sha256(part.encode()).digest())
    for member in trained.members:
        digest.update(hashlib.sha256(member.weights.read_bytes()).digest())
    if trained.evaluation is not None:
        digest.update(hashlib.sha256(evaluation_text(trained.evaluation).encode()).digest())
    return digest.hexdigest()


def run_text(trained: Trained, figures: Mapping[str, object]) -> str:
    """How the model was made, as JSON."""
    made = trained.making
    told = {
        "digest": digest_of(trained),
        "command": made.command,
        "made_on": made.made_on.isoformat(),
        "device": made.device,
        "seconds": round(made.seconds, 1),
        "versions": dict(made.versions),
        "networks": [_network(trained.recipe, member) for member in trained.members],
        **figures,
    }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _network(recipe: Recipe, member: Member) -> dict[str, object]:
    kind = {"architecture": network_name(recipe, member.network)} if recipe.networks else {}
    return {"seed": member.seed, "fold": member.fold, **kind}


def _renamed_split(split: Split) -> Split:
    def hidden(key: str) -> str:
        return hidden_name(key, split.dataset_digest)

    def named(keys: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(hidden, keys))

    folds = tuple(
        Fold(train=named(each.train), validation=named(each.validation), test=named(each.test)) for each in split.folds
    )
    groups = {hidden(key): hidden(group) for key, group in split.groups.items()}
    return dataclasses.replace(split, folds=folds, groups=groups, left_out=named(split.left_out))


def _renamed(evaluation: Evaluation, split: Split) -> Evaluation:
    worst = tuple(
        dataclasses.replace(each, key=hidden_name(each.key, split.dataset_digest)) for each in evaluation.worst
    )
    together = _renamed(evaluation.together, split) if evaluation.together else None
    return dataclasses.replace(evaluation, worst=worst, together=together)
