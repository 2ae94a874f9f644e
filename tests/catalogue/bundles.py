"""A bundle written for the tests, in the published format, and the card beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CARD = """\
name = "{name}"
version = "0.1"
title = "Organ"
purpose = "Outlines an organ."
intended_use = "Tests."
licence = "MIT"
citation = "none"
manufacturer = "nobody"
pipeline = "bundle"
procedure = {{ value = "25045-6", scheme = "LN", meaning = "CT unspecified body region" }}

[[weights]]
role = "network"
source = "file:bundle/models/model.pt"

[[requires]]
field = "modality"
one_of = ["CT"]

[[segments]]
number = 1
label = "Spleen"
category = {{ value = "91723000", scheme = "SCT", meaning = "Anatomical Structure" }}
type = {{ value = "78961009", scheme = "SCT", meaning = "Spleen" }}
colour = [1, 2, 3]
"""


def configuration() -> dict[str, Any]:
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "datalist": "$list(sorted(glob.glob(@bundle_root + '/*.nii.gz')))",
        "network_def": {
            "_target_": "UNet",
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 2,
            "channels": [4, 8],
            "strides": [2],
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [2.0, 2.0, 2.0], "mode": "bilinear"},
                {
                    "_target_": "ScaleIntensityRanged",
                    "keys": "image",
                    "a_min": -57,
                    "a_max": 164,
                    "b_min": 0,
                    "b_max": 1,
                    "clip": True,
                },
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 2, "overlap": 0.5},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
            ],
        },
        "evaluator": {"_target_": "SupervisedEvaluator", "device": "@device"},
        "run": ["$setattr(torch.backends.cudnn, 'benchmark', True)", "$@evaluator.run()"],
    }


def metadata() -> dict[str, Any]:
    return {
        "version": "0.5.4",
        "monai_version": "1.4.0",
        "name": "Spleen CT segmentation",
        "task": "Spleen segmentation",
        "description": "Segments the spleen in CT.",
        "authors": "A team",
        "copyright": "Copyright (c) nobody",
        "intended_use": "This is an example, not to be used for diagnostic purposes",
        "references": ["Somebody. Something. 2021."],
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "hounsfield",
                    "modality": "CT",
                    "num_channels": 1,
                    "channel_def": {"0": "image"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": 2,
                    "channel_def": {"0": "background", "1": "spleen"},
                }
            },
        },
    }


def write_bundle(folder: Path, inference: dict[str, Any] | None = None, more: dict[str, Any] | None = None) -> Path:
    """Write a bundle into `folder` and return it; `more` goes over the metadata."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "inference.json").write_text(json.dumps(inference or configuration()))
    (folder / "configs" / "metadata.json").write_text(json.dumps({**metadata(), **(more or {})}))
    (folder / "models" / "model.pt").write_bytes(b"weights")
    (folder / "LICENSE").write_text("Apache License\nVersion 2.0, January 2004\n")
    return folder


def write_model(models: Path, name: str = "spleen", inference: dict[str, Any] | None = None) -> Path:
    """Write a model with a bundle, neither trusted nor on, and return its folder."""
    folder = models / name
    write_bundle(folder / "bundle", inference)
    (folder / "model.toml").write_text(CARD.format(name=name))
    return folder
