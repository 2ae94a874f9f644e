"""The first card of a trained model of which nobody has written anything: cautious, with what has to be looked at."""

from __future__ import annotations

import tomllib
from typing import Any

from node.catalogue import draft
from node.catalogue.bundle.metadata import Described
from node.domain.model_card import Task
from node.learn.export.trained import Trained

#: Of a model of which nobody said what it reads: no series of a hospital is "Other" (PS3.3 §C.7.3.1.1.1).
_NOTHING = "OT"


def drafted(trained: Trained) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the hand-written part as `matins models add` would write it, and what somebody has to check."""
    recipe = trained.recipe
    assert recipe.task is not None
    sides = (recipe.preparation.size or recipe.preparation.spacing_mm) if recipe.preparation else ()
    flat = recipe.task is not Task.SEGMENTATION and len(sides) != 3
    told = Described(task=recipe.task, flat=flat, first_output=0, outputs=trained.classes)
    checks = ["modality: nobody has said which series it reads, so none suits: say so in [[requires]]"]
    answers = {"modality": _NOTHING, "licence": "not said", "manufacturer": "not said"}
    checks += ["licence, manufacturer: nobody has said them"]
    asked = [*draft.questions(told, recipe.name), *draft.questions_of_outputs(told, trained.classes)]
    for each in asked:
        if each.key not in answers:
            answers[each.key] = each.default or ""
            checks += [each.check] if each.check else []
    pipeline = "bundle" if recipe.task is Task.DETECTION else "network"
    source = draft.Source(name=recipe.name, pipeline=pipeline, weights="none")
    found = tomllib.loads(draft.card_text(told, source, answers))
    found["purpose"] = f"Trained on {trained.dataset}: {', '.join(trained.classes)}."
    del found["weights"], found["needs_volume"]
    for target in found.get("targets", ()):
        del target["index"]
    return found, tuple(checks)
