"""The MONAI bundle inside a model's folder: the same network and the same steps, for whoever has MONAI and not us."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node.catalogue.bundle import components
from node.catalogue.bundle.sections import FOLDER
from node.domain.colour import Colour
from node.domain.model_card import ModelCard, Task
from node.domain.preparation import Architecture
from node.errors import Failed
from node.imaging.bundle import declared

#: Where the weights lie below the bundle's folder; the first one is what the bundle itself loads.
WEIGHTS = "models"
#: What MONAI calls the version of `metadata.json`'s schema.
_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
_KEY = "image"


def weight_names(count: int) -> list[str]:
    """Return the paths beside the card of so many weights files."""
    names = ["model.safetensors", *(f"model-{number}.safetensors" for number in range(2, count + 1))]
    return [f"{FOLDER}/{WEIGHTS}/{name}" for name in names]


def write_bundle(folder: Path, card: ModelCard, made_on: str, licence_note: str) -> None:
    """Write `configs/`, `docs/` and `LICENSE` of the bundle in the model's folder.

    Raises:
        Failed: its network has no name that MONAI finds.
    """
    bundle = folder / FOLDER
    files = {
        "configs/metadata.json": json.dumps(metadata(card, made_on), indent=2, ensure_ascii=False),
        "configs/inference.json": json.dumps(inference(card), indent=2, ensure_ascii=False),
        "docs/README.md": _readme(card),
        "LICENSE": licence_note,
    }
    for name, text in files.items():
        file = bundle / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")


def inference(card: ModelCard) -> dict[str, Any]:
    """`configs/inference.json`: files of `dataset_dir` are read, and what comes of them is written to `output_dir`.

    Raises:
        Failed: its network has no name that MONAI finds.
    """
    definitions = [_definition(card.architecture_of(weights.role)) for weights in card.weights]
    sections = declared.sections(card)
    volumes = card.needs_volume
    steps = [*loading(card), *sections["preprocessing"]["transforms"]]
    last = [*sections.get("postprocessing", _shares(card))["transforms"], *_saving(card)]
    count = len(card.weights)
    networks = [f"@bundle_root + '/{path.removeprefix(f'{FOLDER}/')}'" for path in weight_names(count)]
    averaged = _is_averaged(card)
    made: dict[str, Any] = {"network_def": definitions[0], "network": "$@network_def.to(@device)"}
    fill = [f"$@network_def.load_state_dict(load_file({networks[0]}))"]
    if averaged:
        names = ["network_def", *(f"network_def_{number}" for number in range(2, count + 1))]
        made = dict(zip(names, definitions, strict=True))
        members = ", ".join(f"@{name}" for name in names)
        views = [list(view) for view in card.preparation.views]
        said = f"'{card.preparation.activation}', {list(card.preparation.flips)}, {views}"
        made["network"] = f"$Averaged([{members}], {said}).to(@device)"
        fill = [f"$@{name}.load_state_dict(load_file({path}))" for name, path in zip(names, networks, strict=True)]
    return {
        "imports": [
            "$import glob",
            "$from safetensors.torch import load_file",
            *(["$from node.imaging.averaged import Averaged"] * averaged),
        ],
        "bundle_root": ".",
        "dataset_dir": "./input",
        "output_dir": "./output",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "files": f"$sorted(glob.glob(@dataset_dir + '/*{'.nii.gz' if volumes else '.png'}'))",
        **made,
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "dataset": {
            "_target_": "Dataset",
            "data": f"$[{{'{_KEY}': each}} for each in @files]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": sections["inferer"],
        "postprocessing": {"_target_": "Compose", "transforms": last},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            **({} if volumes and card.task is Task.SEGMENTATION else {"val_handlers": [_SAVER]}),
        },
        "initialize": fill,
        "run": ["$@network.eval()", "$@evaluator.run()"],
    }


def _definition(architecture: Architecture | None) -> dict[str, Any]:
    """A network as a bundle has it made.

    Raises:
        Failed: it has no name that MONAI finds.
    """
    assert architecture is not None
    target = components.resolved(architecture.name)
    if target is None:
        raise Failed(f"no network is called {architecture.name}")
    return {"_target_": target, **architecture.arguments}


#: Classifiers answer with a line a file.
_SAVER = {
    "_target_": "ClassificationSaver",
    "output_dir": "@output_dir",
    "batch_transform": f"$lambda batch: [each['{_KEY}'].meta for each in batch]",
    "output_transform": "$monai.handlers.from_engine(['pred'])",
}


def metadata(card: ModelCard, made_on: str) -> dict[str, Any]:
    """`configs/metadata.json`, with what goes in and what comes out."""
    volumes, said = card.needs_volume, card.preparation
    assert card.architecture is not None
    channels = max(1, len(card.roles)) if volumes else said.channels
    shape: list[Any] = list(said.patch or said.size) or ["*"] * (3 if volumes else 2)
    names = [segment.label for segment in card.segments] if card.task is Task.SEGMENTATION else []
    outputs = ["background", *names] if names else [each.label for each in card.targets]
    segmentation = card.task is Task.SEGMENTATION
    modality = sorted({value for each in card.requires if each.field == "modality" for value in each.one_of or ()})
    versions = {each: importlib.metadata.version(each) for each in ("monai", "torch", "numpy")}
    return {
        "schema": _SCHEMA,
        "version": card.version,
        "changelog": {card.version: f"made on {made_on}"},
        "monai_version": versions["monai"],
        "pytorch_version": versions["torch"],
        "numpy_version": versions["numpy"],
        "required_packages_version": {
            "nibabel" if volumes else "pillow": importlib.metadata.version("nibabel" if volumes else "pillow"),
            "safetensors": importlib.metadata.version("safetensors"),
        },
        "supported_apps": {},
        "name": card.title,
        "task": f"{card.task.value}: {card.purpose}",
        "description": card.purpose,
        "authors": card.manufacturer,
        "copyright": card.licence,
        "intended_use": card.intended_use,
        "references": [card.citation],
        "network_data_format": {
            "inputs": {
                _KEY: {
                    "type": _KEY,
                    "format": "magnitude" if channels == 1 else "RGB",
                    "modality": "/".join(modality) or "unknown",
                    "num_channels": channels,
                    "spatial_shape": shape,
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": bool(said.patch),
                    "channel_def": {str(number): _KEY for number in range(channels)},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image" if segmentation else "probabilities",
                    "format": "segmentation" if segmentation else "classification",
                    "num_channels": len(outputs),
                    "spatial_shape": shape if segmentation else [1, len(outputs)],
                    "dtype": "float32",
                    "value_range": [0, len(outputs) - 1] if segmentation else [0, 1],
                    "is_patch_data": bool(said.patch),
                    "channel_def": {str(number): name for number, name in enumerate(outputs)},
                }
            },
        },
    }


def _is_averaged(card: ModelCard) -> bool:
    """Whether there are several networks or views, whose shares MONAI would not average."""
    return len(card.weights) > 1 or bool(card.preparation.flips or card.preparation.views)


def loading(card: ModelCard) -> Sequence[dict[str, Any]]:
    """The steps from a file to what the node would be given."""
    if card.needs_volume:
        return [{"_target_": "LoadImaged", "keys": _KEY}]
    colour = "" if card.preparation.channels == 1 else ".convert('RGB')"
    grey = "" if card.colour is Colour.RGB else ".convert('L')"
    converter = f"$lambda picture: picture{grey}{colour}"
    steps: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": _KEY, "reader": "PILReader", "converter": converter}
    ]
    if card.colour is not Colour.RGB:
        # The node shows a model grey images from 0 to 1, and a file holds 0 to 255.
        ends = {"a_min": 0.0, "a_max": 255.0, "b_min": 0.0, "b_max": 1.0}
        steps.append({"_target_": "ScaleIntensityRanged", "keys": _KEY, **ends})
    return steps


def _shares(card: ModelCard) -> dict[str, Any]:
    kind = card.preparation.activation
    made = [{"_target_": "Activationsd", "keys": "pred", kind: True}] if kind != "none" else []
    return {"transforms": made}


def _saving(card: ModelCard) -> Sequence[dict[str, Any]]:
    if card.task is not Task.SEGMENTATION:
        return []
    return [{"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "output_dtype": "$np.uint8"}]


def _readme(card: ModelCard) -> str:
    lines = [f"# {card.title}", "", card.purpose, "", f"Intended use: {card.intended_use}", ""]
    lines += ["Figures, data and limits stand in `CARD.md`, one folder above; this is the same network for MONAI:", ""]
    run = "python -m monai.bundle run --bundle_root . --config_file configs/inference.json"
    lines += ["```sh", "pip install monai pytorch-ignite safetensors " + ("nibabel" if card.needs_volume else "pillow")]
    lines += [f"{run} --dataset_dir /folder/with/files", "```", ""]
    steps = declared.preprocessing(card.preparation, images=not card.needs_volume)
    made = [card.architecture_of(each.role) for each in card.weights]
    names = [*(each.name for each in made if each is not None), *(str(step["_target_"]) for step in steps)]
    if _is_averaged(card) or any(name.startswith("node.") for name in names):
        lines += ["It has a part that MONAI has not: `pip install matins` too.", ""]
    if not card.needs_volume:
        lines += ["Its answers here are not calibrated: calibration and operating point stand in `model.toml`.", ""]
    lines += [f"Licence: {card.licence}", "", f"Cite: {card.citation}"]
    return "\n".join(lines) + "\n"
