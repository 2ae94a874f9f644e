"""What a card's `[preparation]` says, as the sections of a bundle: one way to run both, and one plan for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from node.domain.model_card import ModelCard, Task
from node.domain.preparation import Crop, Fit, Preparation, Values
from node.imaging.bundle.configuration import LOADED, Configuration
from node.imaging.bundle.logits import SOFTMAX

_IMAGE, _PRED = "image", "pred"
#: Steps that MONAI has not.
CROP, FILTER = "node.imaging.preparation.content.ContentCropd", "node.imaging.preparation.filters.Filterd"


def sections(card: ModelCard) -> dict[str, Any]:
    """Return `preprocessing`, `inferer` and `postprocessing` as `configs/inference.json` would have them.

    A classifier has no post-processing: its numbers are read as the card's targets say.
    """
    said = card.preparation
    found: dict[str, Any] = {
        "preprocessing": {"_target_": "Compose", "transforms": preprocessing(said, images=not card.needs_volume)},
        "inferer": _inferer(said),
    }
    if card.task is Task.SEGMENTATION:
        found["postprocessing"] = {"_target_": "Compose", "transforms": _after(said, len(card.segments))}
    return found


def configuration(card: ModelCard, folder: Path, device: str) -> Configuration:
    """Return the whole configuration of a network without a bundle; the network itself is put in later."""
    labels = [segment.label for segment in card.segments]
    names = labels if card.preparation.activation == "sigmoid" else ["background", *labels]
    content = {
        "bundle_root": str(folder),
        "device": f"$torch.device('{device}')",
        "network": {"_target_": "torch.nn.Identity"},
        LOADED: [],
        **sections(card),
    }
    described = {"channel_def": {str(number): name for number, name in enumerate(names)}}
    given = {} if card.needs_volume else {"num_channels": card.preparation.channels}
    metadata = {"network_data_format": {"inputs": {_IMAGE: given}, "outputs": {_PRED: described}}}
    head = SOFTMAX if card.task is Task.CLASSIFICATION and card.preparation.activation == "softmax" else ""
    return Configuration(folder=folder, content=content, metadata=metadata, head=head)


def preprocessing(said: Preparation, *, images: bool) -> list[dict[str, Any]]:
    """Return the steps from what is loaded under the key "image" to what the network is given, without a batch."""
    steps: list[dict[str, Any]] = [{"_target_": "EnsureChannelFirstd", "keys": _IMAGE}]
    if images:
        # A picture comes column by column; turned and mirrored its rows come first, and it is known where they lie.
        steps.append({"_target_": "Rotate90d", "keys": _IMAGE, "k": 1, "spatial_axes": [0, 1]})
        steps.append({"_target_": "Flipd", "keys": _IMAGE, "spatial_axis": 0})
    else:
        steps.append({"_target_": "Orientationd", "keys": _IMAGE, "axcodes": said.axes})
    if said.crop is Crop.CONTENT:
        steps.append({"_target_": CROP, "keys": _IMAGE})
    if said.spacing_mm:
        steps.append({"_target_": "Spacingd", "keys": _IMAGE, "pixdim": list(said.spacing_mm), "mode": "bilinear"})
    size = {"keys": _IMAGE, "spatial_size": list(said.size)}
    if said.size and said.fit is not Fit.CROP:
        linear = "bilinear" if images else "trilinear"
        steps.append({"_target_": "Resized", **size, "mode": linear if said.fit is Fit.LINEAR else "area"})
    filters = [{"_target_": FILTER, "keys": _IMAGE, "filters": list(said.filters)}] if said.filters else []
    scaled = said.values in (Values.WINDOW, Values.STRETCH)
    steps += [*_of_values(said), *filters] if scaled else [*filters, *_of_values(said)]
    if said.mean:
        normal = {"subtrahend": list(said.mean), "divisor": list(said.deviation), "channel_wise": True}
        steps.append({"_target_": "NormalizeIntensityd", "keys": _IMAGE, **normal})
    if said.size and said.fit is Fit.CROP:
        steps.append({"_target_": "ResizeWithPadOrCropd", **size})
    return steps


def _of_values(said: Preparation) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    if said.values is Values.WINDOW:
        low, high = said.window
        ends = {"a_min": low, "a_max": high, "b_min": 0.0, "b_max": 1.0, "clip": True}
        steps.append({"_target_": "ScaleIntensityRanged", "keys": _IMAGE, **ends})
    elif said.values is Values.STRETCH:
        steps.append({"_target_": "ScaleIntensityd", "keys": _IMAGE, "minv": 0.0, "maxv": 1.0})
    elif said.values is not Values.NONE:
        nonzero = said.values is Values.ZSCORE_NONZERO
        steps.append(
            {"_target_": "NormalizeIntensityd", "keys": _IMAGE, "nonzero": nonzero, "channel_wise": True},
        )
    return steps


def _inferer(said: Preparation) -> dict[str, Any]:
    if not said.patch:
        return {"_target_": "SimpleInferer"}
    return {
        "_target_": "SlidingWindowInferer",
        "roi_size": list(said.patch),
        "sw_batch_size": said.batch,
        "overlap": said.overlap,
        "mode": said.blend,
    }


def _after(said: Preparation, segments: int) -> list[dict[str, Any]]:
    back = {"transform": "@preprocessing", "orig_keys": _IMAGE, "nearest_interp": False, "to_tensor": True}
    steps: list[dict[str, Any]] = [{"_target_": "Invertd", "keys": _PRED, **back}]
    if said.activation != "none":
        steps.insert(0, {"_target_": "Activationsd", "keys": _PRED, said.activation: True})
    shares = said.activation == "sigmoid"
    steps.append(
        {"_target_": "AsDiscreted", "keys": _PRED} | ({"threshold": said.threshold} if shares else {"argmax": True})
    )
    if said.largest:
        which = {} if shares else {"applied_labels": list(range(1, segments + 1))}
        steps.append({"_target_": "KeepLargestConnectedComponentd", "keys": _PRED, "is_onehot": shares, **which})
    return steps
