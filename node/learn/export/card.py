"""The card of a trained model: what somebody has written by hand, and what the training knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from node.catalogue.singles import PIPELINE
from node.catalogue.toml_file import read_document
from node.domain.colour import Colour
from node.domain.model_card import Intensity, Task
from node.domain.preparation import Preparation
from node.errors import Failed, Misconfigured
from node.imaging.doubt import ENSEMBLE
from node.learn.bearing import shown
from node.learn.evaluate.evaluation import Evaluation
from node.learn.export import detection
from node.learn.export.drafted import drafted
from node.learn.export.trained import Trained
from node.learn.recipe import Recipe

#: Key of a hand-written target: its class in the data set, where that is not its label.
_CLASS = "class"
#: Pipeline of a detector.
BUNDLE = "bundle"
#: Role of the first network; those of further ones end in their number.
ROLE = "network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A card before it is a file."""

    document: Mapping[str, Any]
    #: Sentences on what somebody has to look at, because nobody has said it.
    checks: tuple[str, ...] = ()


def drawn(trained: Trained, weights: Sequence[str]) -> Drawn:
    """Put the card together; `weights` are paths beside it, the first network's first.

    Raises:
        Misconfigured: the hand-written part says what the training says otherwise, or does not fit its classes.
        Failed: no card can say such a model.
    """
    recipe = trained.recipe
    if recipe.task is None or recipe.network is None or (recipe.task is Task.DETECTION and len(weights) > 1):
        what = "several detectors as one" if recipe.task is Task.DETECTION else "a model without a network"
        raise Failed(f"{what} is not put into a folder by this version")
    file = trained.beside / recipe.card if recipe.card else None
    by_hand, checks = (read_document(file), ()) if file else drafted(trained)
    place = file or Path("card.toml")
    known = _known(trained, weights)
    for key, value in known.items():
        if key in by_hand and by_hand[key] != value:
            problem = f"is {by_hand[key]!r}, and the training says {value!r}"
            raise Misconfigured(place, key, problem, "Leave it out: the training fills it in")
    rest = {key: value for key, value in by_hand.items() if key not in known}
    rest.setdefault("version", "1")
    if len(weights) > 1 and recipe.task is Task.CLASSIFICATION:
        # Its answers are the same, and it is told how far the members lie apart.
        rest.setdefault("uncertainty", {"method": ENSEMBLE})
    outputs = _outputs(trained, rest, place)
    set_to_work = {f"threshold.{each['label']}:" for each in outputs.get("targets", ()) if "operating_point" in each}
    checks = tuple(each for each in checks if not each.startswith(tuple(set_to_work)))
    head = {key: value for key, value in known.items() if not isinstance(value, dict | list)}
    tables = {key: value for key, value in known.items() if key not in head}
    return Drawn(document=head | rest | tables | outputs, checks=checks)


def reads_volumes(trained: Trained) -> bool:
    """Whether the model reads volumes; else single images."""
    recipe = trained.recipe
    if recipe.task is Task.SEGMENTATION:
        return True
    size = (recipe.preparation.size or recipe.preparation.spacing_mm) if recipe.preparation else ()
    return len(size) == 3 or any(each.volume is not None for each in trained.cases)


def preparation_of(trained: Trained) -> Preparation:
    """The preparation with the views, mirrored or magnified, that the model was judged by."""
    said = trained.recipe.preparation or Preparation()
    return replace(said, **shown(trained.recipe))


def _known(trained: Trained, weights: Sequence[str]) -> dict[str, Any]:
    recipe = trained.recipe
    assert recipe.task is not None
    assert recipe.network is not None
    volumes = reads_volumes(trained)
    found: dict[str, Any] = {"name": recipe.name, "pipeline": PIPELINE, "task": recipe.task.value}
    found["needs_volume"] = volumes
    if not volumes:
        found["colour"] = recipe.colour.value
        found["intensity"] = (Intensity.SHOWN if recipe.colour is Colour.GREY else Intensity.RESCALED).value
    preparation = preparation_of(trained)
    if recipe.task is Task.CLASSIFICATION:
        found["exclusive"] = preparation.activation == "softmax"
    roles = [ROLE, *(f"{ROLE}-{number}" for number in range(2, len(weights) + 1))]
    found["weights"] = [
        {"role": role, "source": f"file:{path}", **_own_architecture(recipe, member.network)}
        for role, path, member in zip(roles, weights, trained.members, strict=True)
    ]
    if recipe.task is Task.DETECTION:
        # Its bundle says the rest.
        return found | {"pipeline": BUNDLE, "detection": detection.table(recipe.detection)}
    found["preparation"] = _plain(preparation)
    found["architecture"] = {"name": recipe.network.name, "arguments": dict(recipe.network.arguments)}
    return found


def _own_architecture(recipe: Recipe, network: int) -> dict[str, Any]:
    """What the weights of one of the recipe's further networks are put into; those of the first one say nothing."""
    if not network:
        return {}
    chosen = recipe.networks[network - 1]
    return {"architecture": {"name": chosen.name, "arguments": dict(chosen.arguments)}}


def _outputs(trained: Trained, rest: dict[str, Any], place: Path) -> dict[str, Any]:
    """The card's segments or targets; taken out of what was written by hand where the training adds to them."""
    classes = trained.classes
    if trained.recipe.task is Task.SEGMENTATION:
        found = len(rest.get("segments", ()))
        if found != len(classes):
            problem = f"are {found}, and the data set has {len(classes)} ({', '.join(classes)})"
            raise Misconfigured(place, "segments", problem, "Give one for each label of the data set, in its order")
        return {}
    known = {name.casefold(): index for index, name in enumerate(classes)}
    targets = []
    for number, written in enumerate(rest.pop("targets", ())):
        said = dict(written)
        name = str(said.pop(_CLASS, said.get("label", "")))
        index = known.get(name.casefold())
        if index is None:
            remedy = f"Name one of {', '.join(classes)} as its label, or as class"
            raise Misconfigured(place, f"targets[{number}]", f'"{name}" is no class of the data set', remedy)
        if {"index", "calibration"} & said.keys():
            raise Misconfigured(place, f"targets[{number}]", "says index or calibration", "The training says them")
        targets.append({"index": index, **said, **_fitted(trained, index, said)})
    return {"targets": targets}


def _fitted(trained: Trained, index: int, said: Mapping[str, Any]) -> dict[str, Any]:
    """Calibration and operating point of a class, as far as the evaluation has them."""
    if trained.recipe.task is Task.DETECTION:
        point = None if "operating_point" in said else detection.operating_point(trained, index)
        return {} if point is None else {"operating_point": point}
    place, judged = judged_by(trained)
    if judged is None or judged.classification is None:
        return {}
    found: dict[str, Any] = {}
    figures, operating = judged.classification, judged.classification.operating
    calibrated = figures.classes[index].calibration
    scaling = calibrated.scalings[place] if calibrated and place < len(calibrated.scalings) else None
    if scaling is not None:
        found["calibration"] = {
            "temperature": scaling.temperature,
            "bias": scaling.bias,
            "cases": scaling.cases,
            "fitted_on": trained.making.made_on.isoformat(),
            "fitted_at": f"{trained.dataset}, {operating.chosen_on if operating else judged.method}",
        }
    if index == figures.positive and operating is not None and place < len(operating.thresholds):
        threshold = operating.thresholds[place]
        if threshold is not None and "operating_point" not in said:
            found["operating_point"] = threshold
    return found


def judged_by(trained: Trained) -> tuple[int, Evaluation | None]:
    """The evaluation that holds for the networks of the model, and which of its seeds is theirs."""
    evaluation = trained.evaluation
    if evaluation is None:
        return 0, None
    if len(trained.members) > 1 and evaluation.together is not None:
        return 0, evaluation.together
    seed = trained.members[0].seed
    return (evaluation.seeds.index(seed) if seed in evaluation.seeds else 0), evaluation


def _plain(preparation: Preparation) -> dict[str, Any]:
    """What differs from what a card says by leaving it out."""
    found: dict[str, Any] = {}
    for each in fields(preparation):
        value = getattr(preparation, each.name)
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if value != default:
            found[each.name] = value.value if isinstance(value, Enum) else list(value) if _is_list(value) else value
    # The one key that everybody asks for.
    return {"axes": preparation.axes, **found}


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
