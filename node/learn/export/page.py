"""`CARD.md`: a model for people: what it is for and learnt from, how good it is, where it fails, how to remake it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from node.domain.model_card import ModelCard, Task
from node.learn.architectures import network_name
from node.learn.evaluate.evaluation import Evaluation
from node.learn.evaluate.figures import Figure
from node.learn.export.card import judged_by
from node.learn.export.trained import Trained
from node.learn.run import Member

#: Of a classifier, in this order; the others stand in evaluation.json.
_OVERALL = ("accuracy", "balanced_accuracy", "auc_macro", "average_precision_macro", "f1_macro", "brier", "log_loss")
_OF_CLASS = ("auc", "average_precision", "precision", "recall", "specificity", "f1")
_OF_SEGMENT = ("dice", "hd95_mm", "surface_dice", "volume_error_ml", "volume_error_percent")


def page(card: ModelCard, trained: Trained, digest: str, checks: Sequence[str], sameness: str, size: int) -> str:
    """Write the page; `digest` is that of the run, `size` the bytes of all weights."""
    made = trained.making
    lines = [f"# {card.title}", "", f"`{card.name}` {card.version}. {card.purpose}", ""]
    if checks:
        lines += ["**Nobody has looked at this yet:**", "", *(f"- {each}" for each in checks), ""]
    lines += ["## What it may be used for", "", card.intended_use.strip(), ""]
    lines += [f"Results are marked {card.content_qualification}. Licence: {card.licence}", "", f"Cite: {card.citation}"]
    lines += ["", "## What it learnt from", "", *_data(trained), ""]
    lines += ["## How good it is", "", *_figures(trained), ""]
    lines += ["## Limits", "", *_limits(card, trained), ""]
    lines += ["## How to make it again", "", "```sh", made.command, "```", ""]
    lines += _table(
        ("", ""),
        [
            ("made on", made.made_on.isoformat()),
            ("networks", ", ".join(_member(trained, each) for each in trained.members)),
            ("device", made.device),
            ("training", f"{made.seconds:.0f} s"),
            ("versions", ", ".join(f"{name} {version}" for name, version in made.versions.items()) or "not kept"),
            ("run", f"`{digest}`"),
            ("weights", f"{size / 1e6:.2f} MB, kernels in half precision; {sameness}"),
        ],
    )
    return "\n".join(lines) + "\n"


def _member(trained: Trained, member: Member) -> str:
    kind = f"{network_name(trained.recipe, member.network)}, " if trained.recipe.networks else ""
    return f"{kind}seed {member.seed}, " + ("all cases" if member.fold < 0 else f"fold {member.fold + 1}")


def _data(trained: Trained) -> Iterator[str]:
    split = trained.split
    yield f"{trained.dataset}. Split: {split.method}"
    yield ""
    rows = [(str(place), len(f.train), len(f.validation), len(f.test)) for place, f in enumerate(split.folds, 1)]
    yield from _table(("fold", "trained on", "chosen by", "judged by"), rows)
    sheet = _sheet(trained)
    if not sheet:
        return
    yield ""
    for part in ("classes", "labels"):
        for each in sheet.get(part) or ():
            yield f"- {each.get('name', '')}: {each.get('cases', '?')} cases"
    told = ("cases", "groups", "patients")
    yield "- " + ", ".join(f"{sheet[key]} {key}" for key in told if sheet.get(key))
    yield "- the whole data sheet: `evidence/sheet.json`"


def _sheet(trained: Trained) -> Mapping[str, Any]:
    found = json.loads(trained.sheet) if trained.sheet else {}
    return found if isinstance(found, dict) else {}


def _figures(trained: Trained) -> Iterator[str]:
    if trained.evaluation is None:
        yield "Nobody has measured it: believe nothing that it says."
        return
    every = trained.evaluation
    yield from _standing(trained, every)
    is_mixed = bool(trained.recipe.networks)
    if every.together is not None:
        of = f"{every.together.cases} cases in {every.together.groups} groups that none of them was trained on"
        such = "such" if any(member.fold < 0 for member in trained.members) else "of its"
        yield f"What {len(trained.members)} {such} networks say as one, on {of} ({every.together.method}):"
        yield ""
        yield from _measured(every.together)
        kind = f"Of {network_name(trained.recipe, 0)} alone, the first architecture, each" if is_mixed else "Each"
        yield f"{kind} network by itself:"
        yield ""
    networks = f"the seeds {', '.join(map(str, every.seeds))}" if len(every.seeds) > 1 else f"seed {every.seeds[0]}"
    yield (
        f"On {every.cases} cases in {every.groups} groups that it was not trained on ({every.method}, {every.part}); "
        f"mean of {networks}, with a 95 % interval ({every.interval}). More is in `evidence/evaluation.json`."
    )
    yield ""
    yield from _measured(every)
    yield from _operating(trained)
    yield from _subgroups(every)


def _standing(trained: Trained, every: Evaluation) -> Iterator[str]:
    """What stands between the figures and what the node will run."""
    recipe, count = trained.recipe, len(trained.members)
    if any(member.fold < 0 for member in trained.members):
        yield (
            "It has learnt from every case, so nobody can measure it without others. What stands here, its calibration "
            f"and its operating point too, is of networks that were made alike in {len(trained.split.folds)} fold(s), "
            "each judged by cases that it has not seen."
        )
        yield ""
    elif count > 1 and every.together is None:
        yield (
            f"It answers with the mean of {count} networks, each trained on other cases: no case is new to all of "
            "them. What stands here, its calibration and its operating point too, is of each of them alone."
        )
        yield ""
    if every.segmentation is not None and recipe.preparation is not None and recipe.preparation.spacing_mm:
        spacing = " × ".join(f"{each:g}" for each in recipe.preparation.spacing_mm)
        yield (
            f"Masks were compared at the spacing that the network sees, {spacing} mm. On the grid of the images "
            "themselves, where the node puts them: `matins evaluate NAME DATASET`."
        )
        yield ""


def _measured(every: Evaluation) -> Iterator[str]:
    if every.classification is not None:
        yield from _of_classes(every)
    if every.segmentation is not None:
        for segment in every.segmentation.segments:
            rows = _rows(segment.figures, _OF_SEGMENT, f"{segment.name}, ")
            yield from _table(("figure", "mean", "95 %", "seeds"), rows)
            yield ""
            if segment.agreement is not None:
                a = segment.agreement
                yield (
                    f"Volume of {segment.name}, said less true: {a.mean_ml:+.2f} mL, 95 of 100 between {a.low_ml:+.2f} "
                    f"and {a.high_ml:+.2f} mL; wholly missed in {segment.missed} cases, falsely seen in "
                    f"{segment.falsely_seen}."
                )
                yield ""
    if every.detection is not None:
        found = every.detection.figures
        yield from _table(("figure", "mean", "95 %", "seeds"), _rows(found, sorted(found)))
        yield ""


def _of_classes(every: Evaluation) -> Iterator[str]:
    found = every.classification
    assert found is not None
    yield from _table(("figure", "mean", "95 %", "seeds"), _rows(found.figures, _OVERALL))
    yield ""
    yield "What is right or wrong here is the class with the highest number as it comes, before any calibration."
    yield ""
    rows = [row for each in found.classes for row in _rows(each.figures, _OF_CLASS, f"{each.name}, ")]
    yield from _table(("class against the rest", "mean", "95 %", "seeds"), rows)
    yield ""
    rows = []
    for each in found.classes:
        told = each.calibration
        if told is None:
            continue
        after = told.after.ece if told.after else None
        rows.append((each.name, _number(told.before.ece), _number(after), _interval(after)))
    if rows:
        yield "How well a probability holds what it says (expected calibration error, 10 bins):"
        yield ""
        yield from _table(("class", "as it comes", "calibrated", "95 %"), rows)
        yield ""


def _operating(trained: Trained) -> Iterator[str]:
    place, judged = judged_by(trained)
    operating = judged.classification.operating if judged and judged.classification else None
    if judged is None or operating is None or judged.classification is None:
        return
    threshold = operating.thresholds[place] if place < len(operating.thresholds) else None
    name = judged.classes[judged.classification.positive]
    yield (
        f"Operating point for {name}: from {'no number' if threshold is None else round(threshold, 4)} on, chosen on "
        f"{operating.chosen_on} cases for a sensitivity of {operating.wanted_sensitivity:.2f}. There sensitivity is "
        f"{_number(operating.sensitivity)} ({_interval(operating.sensitivity)}), specificity "
        f"{_number(operating.specificity)} ({_interval(operating.specificity)})."
    )
    yield ""
    if operating.held_out_sensitivity is not None and operating.held_out_sensitivity.value is not None:
        specificity = operating.held_out_specificity
        yield (
            "Where no case has a say in its own threshold: sensitivity "
            f"{_number(operating.held_out_sensitivity)} ({_interval(operating.held_out_sensitivity)}), "
            f"specificity {_number(specificity)} ({_interval(specificity)})."
        )
        yield ""


def _subgroups(every: Evaluation) -> Iterator[str]:
    if not every.subgroups:
        yield "Subgroups: the data set names neither sex, age, scanner nor site, so nobody knows how it fares in them."
        return
    rows = []
    for each in every.subgroups:
        name = next((key for key in ("auc", "dice", *sorted(each.figures)) if key in each.figures), "")
        figure = each.figures.get(name)
        of = f"{each.attribute} {each.value}"
        rows.append((of, each.cases, f"{name} {_number(figure)}", _interval(figure), each.note))
    yield from _table(("subgroup", "cases", "figure", "95 %", ""), rows)


def _limits(card: ModelCard, trained: Trained) -> Iterator[str]:
    yield f"- It has seen one data set, {trained.dataset}. Other scanners, patients and protocols are not in it."
    if card.task is Task.CLASSIFICATION:
        yield f"- It knows {', '.join(trained.classes)} and nothing else: whatever it is shown, it says one of these."
    if any(target.calibration is None for target in card.targets):
        yield "- Where it is not calibrated its number is a score, never a probability."
    said = card.preparation
    if said.flips or len(said.views) > 1:
        times = (1 + len(said.flips)) * max(1, len(said.views))
        ways = " and ".join(["mirrored"] * bool(said.flips) + ["magnified"] * bool(said.views))
        yield f"- Each input is shown {times} times, {ways}: it takes about {times} times as long."
    if trained.evaluation is not None:
        yield from (f"- {note}" for note in trained.evaluation.notes)
        yield from (f"- Read worst: {each.why}" for each in trained.evaluation.worst[:5])


def _rows(figures: Mapping[str, Figure], names: Iterable[str], before: str = "") -> list[tuple[Any, ...]]:
    return [
        (f"{before}{name.replace('_', ' ')}", _number(found), _interval(found), _seeds(found))
        for name in names
        if (found := figures.get(name)) is not None
    ]


def _number(figure: Figure | None) -> str:
    return "–" if figure is None or figure.value is None else f"{figure.value:.3f}"


def _interval(figure: Figure | None) -> str:
    known = figure is not None and figure.low is not None and figure.high is not None
    return f"{figure.low:.3f} to {figure.high:.3f}" if known and figure is not None else "–"


def _seeds(figure: Figure) -> str:
    return ", ".join("–" if each is None else f"{each:.3f}" for each in figure.seeds) or "–"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return [line(head), "|" + " --- |" * len(head), *map(line, rows)]
