"""A detector's model folder: the bundle with its detector, which the node runs as it runs one that was published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from node.catalogue.bundle import components
from node.catalogue.bundle.sections import FOLDER
from node.catalogue.cards import CARD, read_card
from node.catalogue.weights import locate_all
from node.domain.model_card import ModelCard
from node.errors import Failed
from node.imaging import pipelines
from node.imaging.bundle import declared
from node.imaging.formats import built
from node.imaging.networks.retinanet import Retina
from node.imaging.pipelines import Box, Fitting
from node.imaging.tasks.boxes import overlap
from node.learn.boxes.detector import selection, windows
from node.learn.boxes.table import Detecting
from node.learn.evaluate.detection import FROC_OVERLAP, hits
from node.learn.export.bundle import WEIGHTS, loading, metadata
from node.learn.export.trained import Trained
from node.learn.prediction import read_predictions
from node.learn.reading import given_of
from node.learn.recipe import Recipe

#: False boxes an image that the operating point lets through at most, on images that were not trained on.
FALSE_BOXES = 1.0
#: Scores below are a detector's murmur: half precision may bring one over its threshold, or not.
_COUNTS = 0.2
_DETECTOR = "monai.apps.detection.networks.retinanet_detector.RetinaNetDetector"
_ANCHORS = "monai.apps.detection.utils.anchor_utils.AnchorGeneratorWithAnchorShape"


def table(said: Detecting) -> dict[str, Any]:
    """The card's `[detection]`: boxes that overlap were sorted out by the detector, and the node does so again."""
    return {"suppressed_from": said.overlap}


def operating_point(trained: Trained, label: int) -> float | None:
    """The lowest score with one false box an image at most, on validation images; `None`: there are none."""
    said = read_predictions(trained.members[0].predictions) if trained.members[0].predictions.is_file() else ()
    chosen = [each for each in said if each.part == "validation"]
    if not chosen:
        return None
    found = hits(chosen, label, FROC_OVERLAP)
    false = np.cumsum(~found.is_hit) / len(chosen)
    allowed = np.flatnonzero(false <= FALSE_BOXES)
    useful = allowed[found.is_hit[allowed]]
    return round(float(found.scores[useful[-1]]), 4) if len(useful) else None


def write_bundle(folder: Path, card: ModelCard, recipe: Recipe, made_on: str, licence_note: str) -> None:
    """Write `configs/`, `docs/` and `LICENSE` of the bundle in the model's folder.

    Raises:
        Failed: the recipe's network is none that finds boxes.
    """
    files = {
        "configs/metadata.json": _text(_described(card, recipe, made_on)),
        "configs/inference.json": _text(inference(card, recipe)),
        "docs/README.md": _readme(card),
        "LICENSE": licence_note,
    }
    for name, text in files.items():
        file = folder / FOLDER / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")


def inference(card: ModelCard, recipe: Recipe) -> dict[str, Any]:
    """`configs/inference.json`: the boxes of every file in `dataset_dir` become `boxes.json` in `output_dir`.

    Raises:
        Failed: the recipe's network is none that finds boxes.
    """
    assert recipe.network is not None
    assert recipe.preparation is not None
    network = built(recipe.network)
    if not isinstance(network, Retina):
        raise Failed(f"{recipe.network.name} finds no boxes")
    told = _told(card, recipe)
    volumes = card.needs_volume
    steps = [*loading(told), *declared.preprocessing(recipe.preparation, images=not volumes)]
    operations = [
        "$@detector.set_target_keys(box_key='box', label_key='label')",
        _set("box_selector_parameters", selection(recipe.detection)),
    ]
    if recipe.preparation.patch:
        operations.append(_set("sliding_window_inferer", windows(recipe)))
    return {
        "imports": ["$import glob", "$import json", "$import pathlib", "$from safetensors.torch import load_file"],
        "bundle_root": ".",
        "dataset_dir": "./input",
        "output_dir": "./output",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "files": f"$sorted(glob.glob(@dataset_dir + '/*{'.nii.gz' if volumes else '.png'}'))",
        "network_def": {"_target_": components.resolved(recipe.network.name), **recipe.network.arguments},
        "network": "$@network_def.to(@device)",
        "anchor_generator": {
            "_target_": _ANCHORS,
            "feature_map_scales": network.scales,
            "base_anchor_shapes": network.anchors,
        },
        "detector": {"_target_": _DETECTOR, "network": "@network", "anchor_generator": "@anchor_generator"},
        "detector_ops": operations,
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        # What the detector needs before it reads anything: the node looks for it here, as published bundles have it.
        "evaluator": {"_target_": "torch.nn.Identity", "_requires_": "@detector_ops"},
        "found": (
            "$[{'file': each, **{key: value.tolist() for key, value in @detector([@preprocessing({'image': each})"
            f"['image'].as_tensor().to(@device)], use_inferer={bool(recipe.preparation.patch)})[0].items()}}}} "
            "for each in @files]"
        ),
        "initialize": [
            f"$@network_def.load_state_dict(load_file(@bundle_root + '/{WEIGHTS}/model.safetensors'))",
            "$@network_def.requires_grad_(False)",
            "$@evaluator",
            "$@detector.eval()",
        ],
        "run": [
            "$pathlib.Path(@output_dir).mkdir(parents=True, exist_ok=True)",
            "$pathlib.Path(@output_dir, 'boxes.json').write_text(json.dumps(@found))",
        ],
    }


def apart(folder: Path, trained: Trained, whole: Mapping[str, Path]) -> float:
    """Return by how much a score differs at most between the exported model and the one with `whole` weights.

    Raises:
        Failed: one has a box that the other has not, at a score that counts for something.
    """
    card = read_card(folder)
    fitting = Fitting(card=card, folder=folder, weights=locate_all(card, folder, folder / CARD), device="cpu")
    load = pipelines.named(card.pipeline).load
    runners = load(fitting), load(Fitting(card=card, folder=folder, weights=whole, device="cpu"))
    most = 0.0
    for place, pixels in enumerate(trained.cases):
        given = given_of(card, pixels, str(place))
        one, other = (runner.run(given).boxes for runner in runners)
        for mine, theirs in ((one, other), (other, one)):
            for box in mine:
                if box.score >= _COUNTS:
                    most = max(most, _off(box, theirs))
    return most


def _off(box: Box, among: tuple[Box, ...]) -> float:
    same = [each for each in among if each.target == box.target and overlap(each.edges, box.edges) > 0.8]
    if not same:
        raise Failed("the exported model is another one: it has other boxes than what was trained")
    return min(abs(each.score - box.score) for each in same)


def _described(card: ModelCard, recipe: Recipe, made_on: str) -> dict[str, Any]:
    found = metadata(_told(card, recipe), made_on)
    answers = found["network_data_format"]["outputs"]["pred"]
    answers |= {"type": "object", "format": "detection", "num_channels": len(card.targets)}
    return found


def _told(card: ModelCard, recipe: Recipe) -> ModelCard:
    """The card with what the bundle says in its place."""
    assert recipe.preparation is not None
    return replace(card, preparation=recipe.preparation, architecture=recipe.network)


def _readme(card: ModelCard) -> str:
    run = "python -m monai.bundle run --bundle_root . --config_file configs/inference.json"
    reader = "nibabel" if card.needs_volume else "pillow"
    lines = [
        *(f"# {card.title}", "", card.purpose, "", f"Intended use: {card.intended_use}", ""),
        *("Figures, data and limits stand in `CARD.md`, one folder above; this is the same detector for MONAI:", ""),
        *("```sh", f"pip install monai matins safetensors {reader}", f"{run} --dataset_dir /folder/with/files", "```"),
        *("", "Boxes come in index units of what the detector was given, all low corners, then all high ones.", ""),
        *(f"Licence: {card.licence}", "", f"Cite: {card.citation}"),
    ]
    return "\n".join(lines) + "\n"


def _set(what: str, arguments: Mapping[str, Any]) -> str:
    return f"$@detector.set_{what}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def _text(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
