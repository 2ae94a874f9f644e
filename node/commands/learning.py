"""`train`: from the options to a run, and what is said of it."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Mapping
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.catalogue.cards import NAME
from node.catalogue.toml_file import read_document
from node.commands.finishing import finish, put_in_place
from node.commands.output import print_json, say
from node.commands.site import settings_from
from node.commands.training import listening
from node.config import Settings
from node.domain.time import SystemClock
from node.errors import Failed, Misconfigured
from node.learn import ablation, beginning, ensembles, searching, training
from node.learn.dataset.plots import draw
from node.learn.dataset.sheet import sheet_text
from node.learn.dataset.sheet_lines import sheet_lines
from node.learn.evaluate.evaluation import Evaluation
from node.learn.export.evidence import folder_in
from node.learn.place import Place, placed
from node.learn.recipe import Recipe, recipe_of
from node.learn.recipe_text import recipe_text
from node.learn.run import Run
from node.learn.split import FILE_NAME as SPLIT

_RECIPE = ".toml"
#: What a folder's name may have and that of a model may not.
_UNNAMED = re.compile("[^a-z0-9]+")
#: Beneath the data folder: runs, one folder a model.
_RUNS = "learning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The options of `train`."""

    source: Path
    dataset: Path | None
    model: str
    run: Path | None
    split: Path | None
    seeds: tuple[int, ...]
    epochs: int
    changes: tuple[str, ...]
    device: str
    search: bool
    dry_run: bool
    install: bool
    as_json: bool
    rank: int
    local_rank: int
    world: int


def train(wish: Wish, config: Path | None, data: Path | None) -> None:
    """Train, or with `dry_run` say what would be trained on.

    Raises:
        Misconfigured: the recipe, the data set, the split or an option is wrong; nothing was trained.
        Failed: the training cannot succeed as it stands.
    """
    settings = settings_from(config, data)
    asked = _asked(wish, settings)
    try:
        _trained(wish, settings, asked)
    except KeyboardInterrupt:
        raise Failed(f"stopped; the same command goes on where {asked.run.folder} is") from None


def _trained(wish: Wish, settings: Settings, asked: training.Wish) -> None:
    tells = wish.rank == 0 and not wish.as_json
    with placed(wish.device, rank=wish.rank, local_rank=wish.local_rank, world=wish.world) as place:
        ready = training.prepare(asked, training.Ears(say=say if tells else _silent), place)
        if wish.dry_run:
            if place.leads:
                _show(wish, ready)
            return
        _refuse_folders(ready.recipe, _command(wish))
        with listening() as listener:
            ears = training.Ears(say=say, training=listener) if tells else training.Ears()
            ready = searching.searched(ready, place, ears)
            evaluation = training.train(ready, place, ears)
            ensembles.compare(ready, place)
            ablation.ablate(ready, place, ears)
        if place.leads:
            _finish(wish, settings, ready, evaluation, place)


def _refuse_folders(recipe: Recipe, command: str) -> None:
    """Refuse what could not be exported once it is trained: a recipe that names a folder of this machine."""
    said = folder_in(f"{recipe_text(recipe)}\n{command}".encode())
    if said:
        problem = f"names a folder of this machine ({said}), which would go with the model"
        raise Misconfigured("recipe", "", problem, "Put what it names beside the recipe, and name it from there")


def _silent(_: object) -> None:
    """Say nothing."""


def _asked(wish: Wish, settings: Settings) -> training.Wish:
    """What is asked for, from the recipe and the options."""
    is_recipe = wish.source.suffix == _RECIPE
    document = read_document(wish.source) if is_recipe else {}
    dataset = wish.dataset or (None if is_recipe else wish.source)
    if dataset is None:
        raise Misconfigured("--dataset", "", "is missing: a recipe does not say where its data set lies", "Name it")
    recipe = recipe_of(_changed(document, wish), wish.source if is_recipe else Path("--set"))
    name = recipe.name or _UNNAMED.sub("-", dataset.resolve().stem.lower()).strip("-") or "model"
    if not NAME.fullmatch(name):
        problem = f'"{name}" is no name of a model'
        raise Misconfigured("recipe.toml", "name", problem, "Use small letters, digits and single dashes")
    run = Run(folder=wish.run or settings.data.folder / _RUNS / name)
    # A search comes before the training, in a folder of its own.
    run = run if recipe.search is None else run.search
    beside = wish.source.resolve().parent if is_recipe else Path.cwd()
    written = beside / SPLIT if is_recipe else None
    split = wish.split or (written if written is not None and written.is_file() else None)
    return training.Wish(
        recipe=_named(recipe, name), beside=beside, dataset=dataset, run=run, split=split, is_dry=wish.dry_run
    )


def _named(recipe: Recipe, name: str) -> Recipe:
    from dataclasses import replace

    return replace(recipe, name=name)


def _changed(document: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """The recipe with what the options say otherwise."""
    changes: dict[str, Any] = {}
    for text in wish.changes:
        key, equals, value = text.partition("=")
        if not equals:
            raise Misconfigured("--set", text, "is no TABLE.KEY=VALUE", "Write, for example, training.batch=8")
        changes[key.strip()] = _value(key, value.strip())
    if wish.search:
        document.setdefault("search", {})
    if wish.model:
        changes["name"] = wish.model
    if wish.seeds:
        changes["training.seeds"] = list(wish.seeds)
    if wish.epochs:
        changes["training.epochs"] = wish.epochs
    for key, value in changes.items():
        *tables, last = key.split(".")
        inner = document
        for table in tables:
            inner = inner.setdefault(table, {})
            if not isinstance(inner, dict):
                raise Misconfigured("--set", key, f"{table} is no table", "Correct the key")
        inner[last] = value
    return document


def _value(key: str, text: str) -> Any:
    """A value as TOML has it; what is no TOML is a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if any(mark in text for mark in "[]{}\"'"):
            raise Misconfigured("--set", key, f"{text} is no value of TOML", "Mind the quotes") from None
        return text


def _show(wish: Wish, ready: training.Ready) -> None:
    counts = [{"train": len(f.train), "validation": len(f.validation), "test": len(f.test)} for f in ready.split.folds]
    told: Mapping[str, Any] = {"run": str(ready.run.folder), "split": ready.split.method, "folds": counts}
    if wish.as_json:
        print_json({**told, "sheet": json.loads(sheet_text(ready.sheet))})
        return
    # Its problems were said when they were seen.
    for line in sheet_lines(ready.sheet, with_problems=False):
        say(line)
    plots = draw(ready.sheet, ready.run.folder / "plots")
    say(f"split: {ready.split.method}")
    for number, each in enumerate(counts, 1):
        say(f"fold {number}: {each['train']} to train on, {each['validation']} to validate, {each['test']} to test")
    files = "" if beginning.standing(ready.run) else "recipe.toml, sheet.json, split.json, "
    written = f"{files}{len(plots)} plots"
    say(f"written to {ready.run.folder}: {written}; nothing was trained")


def _finish(wish: Wish, settings: Settings, ready: training.Ready, evaluation: Evaluation, place: Place) -> None:
    today = SystemClock().now().wall.date()
    # With --json the lines for people go where they cannot stand between its braces.
    with redirect_stdout(sys.stderr) if wish.as_json else nullcontext():
        folder = finish(ready, evaluation, place, _command(wish), today)
        say(f"figures: {ready.run.evaluation}")
        if wish.install:
            put_in_place(settings, ready, folder)
    if wish.as_json:
        figures = json.loads(ready.run.evaluation.read_text(encoding="utf-8"))
        print_json({"run": str(ready.run.folder), "model": str(folder), "evaluation": figures})


def _command(wish: Wish) -> str:
    """What was typed, without folders of this machine."""
    words = ["matins train", wish.source.name]
    words += [f"--dataset {wish.dataset.name}"] if wish.dataset else []
    words += [f"--seed {seed}" for seed in wish.seeds]
    words += [f"--epochs {wish.epochs}"] if wish.epochs else []
    return " ".join([*words, *(f"--set {change}" for change in wish.changes)])
