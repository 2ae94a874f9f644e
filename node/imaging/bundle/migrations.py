"""What published bundles say that this MONAI, or this installation, does not understand: by name, one each.

A migration changes how a thing is said, never what is computed. Each that was needed is a note on the result.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Under this name an expression finds the feature pyramid of `node.imaging.bundle.feature_pyramid`.
PYRAMID = "resnet_feature_pyramid_"
_PUBLISHED_PYRAMID = (
    "monai.apps.detection.networks.retinanet_network.resnet_fpn_feature_extractor(",
    "resnet_fpn_feature_extractor(",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One change."""

    name: str
    #: Said to the reader of the result.
    because: str
    #: Return the changed value, or the very same where it does not concern it; asked for every dict and text.
    change: Callable[[Any], Any]


def migrated(content: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the sections as this installation understands them, and a note for each migration that was needed."""
    notes = []
    for migration in MIGRATIONS:
        content, changed = _changed(content, migration.change)
        if changed:
            notes.append(f"the bundle was read with the migration {migration.name}: {migration.because}")
    return content, tuple(notes)


def _changed(value: Any, change: Callable[[Any], Any]) -> tuple[Any, bool]:
    other = change(value)
    changed = other is not value
    if isinstance(other, dict):
        parts = {key: _changed(each, change) for key, each in other.items()}
        return {key: part for key, (part, _) in parts.items()}, changed or any(was for _, was in parts.values())
    if isinstance(other, list):
        listed = [_changed(each, change) for each in other]
        return [part for part, _ in listed], changed or any(was for _, was in listed)
    return other, changed


def _without_img_size(value: Any) -> Any:
    if not (isinstance(value, dict) and "img_size" in value and _is(value, "SwinUNETR")):
        return value
    from monai.networks.nets.swin_unetr import SwinUNETR

    if "img_size" in inspect.signature(SwinUNETR).parameters:
        return value
    return {key: each for key, each in value.items() if key != "img_size"}


def _own_pyramid(value: Any) -> Any:
    if not (isinstance(value, str) and value.startswith("$")) or importlib.util.find_spec("torchvision"):
        return value
    for published in _PUBLISHED_PYRAMID:
        if published in value:
            return value.replace(published, f"{PYRAMID}(")
    return value


def _is(value: dict[str, Any], name: str) -> bool:
    target = value.get("_target_")
    return isinstance(target, str) and target.rpartition(".")[2] == name


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        name='"SwinUNETR without img_size"',
        because="MONAI no longer asks for the size of the window; the network is the same",
        change=_without_img_size,
    ),
    Migration(
        name='"feature pyramid without torchvision"',
        because="torchvision is not installed; the layers and the names of their weights are the same",
        change=_own_pyramid,
    ),
)
