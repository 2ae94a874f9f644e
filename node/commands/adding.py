"""`models add`: a folder, a .zip or a single file becomes a model, with a card; nothing in it is run."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from node.catalogue import code, draft, singles
from node.catalogue.bundle.metadata import Described, described
from node.catalogue.bundle.sections import FOLDER
from node.catalogue.cards import CARD, NAME, read_card
from node.catalogue.draft import Question, Source
from node.catalogue.intake import arriving, bring
from node.catalogue.versions import NEXT, keep_card, place, renamed
from node.commands.output import say
from node.config import Settings
from node.domain.model_card import ModelCard
from node.errors import Failed, Misconfigured
from node.workflow.policy import locks


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for."""

    source: Path
    #: Empty: made of the file's name.
    name: str = ""
    #: Answers given beforehand.
    answers: Mapping[str, str]
    #: Take the defaults.
    yes: bool = False
    #: Put it in the place of the version that is there.
    replace: bool = False
    dry_run: bool = False
    #: Name of the model of which it is another version, to be compared with it; empty: of none.
    shadow_of: str = ""


def add(settings: Settings, wish: Wish) -> None:
    """Bring a model into the models folder, write its card, check it, and say what to look at next.

    Raises:
        Misconfigured: it is no model, or an answer is missing or wrong.
        Failed: it cannot be written, or is there already.
    """
    models = settings.catalogue.models_folder
    name = wish.name or (f"{wish.shadow_of}{NEXT}" if wish.shadow_of else _name_of(wish.source))
    if not NAME.fullmatch(name):
        raise Misconfigured("--name", name, "is no model's name", "Use small letters, digits and single dashes")
    before = models / name
    if before.exists() and not wish.replace:
        raise Failed(f"{before} is there already: give --replace to put this version in its place, or another --name")
    try:
        with arriving(models) as folder:
            arrived = folder / name
            arrived.mkdir()
            weights = bring(wish.source, arrived)
            checks = _write_card(arrived, weights, _card_before(models, before, wish), wish)
            if wish.shadow_of:
                card = arrived / CARD
                text = renamed(card.read_text(encoding="utf-8"), name, wish.shadow_of)
                card.write_text(text, encoding="utf-8")
            _finish(settings, arrived, wish, checks)
    except OSError as error:
        raise Failed(f"{models} cannot be written: {error.strerror}") from error


def _card_before(models: Path, before: Path, wish: Wish) -> Path:
    """Folder of the version whose card the site has written: of one that is to be compared it is that in its place.

    Raises:
        Misconfigured: there is no such model.
    """
    if not wish.shadow_of or (before / CARD).is_file():
        return before
    in_place = models / wish.shadow_of
    if not (in_place / CARD).is_file():
        raise Misconfigured("--shadow-of", wish.shadow_of, "there is no such model", "Name one that is there")
    return in_place


def answers_of(given: Sequence[str]) -> dict[str, str]:
    """Read `KEY=VALUE` options.

    Raises:
        Misconfigured: one has no equals sign.
    """
    pairs = [each.partition("=") for each in given]
    for key, equals, _ in pairs:
        if not (key.strip() and equals):
            raise Misconfigured("--set", key, "has no value", "Write --set KEY=VALUE")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _write_card(arrived: Path, weights: Path, before: Path, wish: Wish) -> list[str]:
    bundle = arrived / FOLDER
    single = not bundle.is_dir()
    told = Described() if single else described(bundle)
    if (before / CARD).is_file():
        keep_card(arrived, before, wish.answers.get("version", told.version))
        return ["the card is the one of the version before: see whether its outputs are still these"]
    answers, checks = _answered([singles.TASK], wish) if single else ({}, [])
    if single:
        told = _told(answers)
    asked = draft.questions(told, arrived.name)
    if single:
        asked += singles.questions_of_input(weights, told.task)
    answers, more_checks = _answered(asked, wish, known=answers)
    checks += more_checks
    outputs = draft.outputs_of(told, answers)
    more, more_checks = _answered(draft.questions_of_outputs(told, outputs), wish, known=answers)
    unknown = sorted(wish.answers.keys() - answers.keys() - more.keys() - _ALWAYS)
    if unknown:
        raise Misconfigured("--set", unknown[0], "is nothing that is asked", f"Known: {', '.join(answers | more)}")
    answers = {**wish.answers, **answers, **more}
    try:
        tables = singles.tables(answers) if single else ""
        pipeline = singles.PIPELINE if single else code.BUNDLE
        beside = weights.relative_to(arrived).as_posix()
        source = Source(name=arrived.name, pipeline=pipeline, weights=beside, more=tables)
        text = draft.card_text(told, source, answers)
    except ValueError as error:
        raise Misconfigured("--set", "", str(error), "Give it with --set KEY=VALUE") from None
    (arrived / CARD).write_text(text, encoding="utf-8")
    return [*checks, *more_checks]


def _told(answers: Mapping[str, str]) -> Described:
    try:
        return singles.told(answers)
    except ValueError as error:
        raise Misconfigured("--set", "task", str(error), "Give --set task=classification, or a bundle") from None


#: What may be set although it is told.
_ALWAYS = frozenset({"modality", "title", "version", "licence", "manufacturer", "citation", "outputs"})


def _answered(
    asked: Sequence[Question], wish: Wish, known: Mapping[str, str] | None = None
) -> tuple[dict[str, str], list[str]]:
    """Answers to all questions, from options, from the person at the terminal, or the defaults; and what to check."""
    answers, checks, missing = dict(known or {}), [], []
    person = sys.stdin.isatty() and not wish.yes
    for each in asked:
        if each.key in wish.answers:
            answers[each.key] = wish.answers[each.key]
        elif person and (each.check or each.default is None):
            answers[each.key] = typer.prompt(each.text, default=each.default, show_default=bool(each.default)).strip()
        elif each.default is None or (each.check and not wish.yes):
            missing.append(f"{each.key} ({each.text})")
        else:
            answers[each.key] = each.default
            checks += [each.check] if each.check else []
    if missing:
        rest = "--yes takes the defaults of the others" if wish.yes is False else "these have none"
        raise Misconfigured("--set", "", f"nobody has said {'; '.join(missing)}", f"Give --set KEY=VALUE; {rest}")
    return answers, checks


def _finish(settings: Settings, arrived: Path, wish: Wish, checks: Sequence[str]) -> None:
    card = _checked(arrived)
    models, name = settings.catalogue.models_folder, card.name
    files = [path for path in arrived.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    say(f"{name} {card.version}: {len(files)} files, {size / 1e6:.1f} MB, pipeline {card.pipeline}, {card.task}")
    for segment in card.segments[:20]:
        say(f"  {segment.number}  {segment.label}: {segment.type.value} {segment.type.meaning}")
    for target in card.targets[:20]:
        say(f"  {target.index}  {target.label}: {target.code.value} {target.code.meaning}")
    needed = code.needs(card, arrived)
    for each in needed:
        say(f"code  {each}")
    for each in checks:
        say(f"check {each}")
    if wish.dry_run:
        say()
        say((arrived / CARD).read_text(encoding="utf-8").rstrip())
        say(f"a dry run: nothing was written to {models}")
        return
    kept = place(arrived, models, name, locks(settings))
    if kept:
        say(f"the version before is kept: `matins models rollback {name}`")
    say(f"look at {models / name / CARD}, then run `matins models trust {name}{' --allow-code' if needed else ''}`")


def _checked(arrived: Path) -> ModelCard:
    """Read the card as the node will; a mistake in it names the model's place, not where it lies while it arrives."""
    try:
        return read_card(arrived)
    except Misconfigured as error:
        raise Misconfigured(f"{arrived.name}/{CARD}", error.key, error.problem, error.remedy) from None


def _name_of(source: Path) -> str:
    stem = source.name if source.is_dir() else source.stem
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
