"""MONAI's transforms in a configuration, each recognised with all that it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from node.imaging.bundle.constants import Constants
from node.imaging.bundle.terms import (
    CropForeground,
    NotUnderstood,
    Orient,
    Pad,
    Respace,
    Scale,
    Standardise,
    Step,
    Stretch,
)

_MISSING = object()
#: What changes no value and no place on the way in and out.
NOTHING = {"ToTensord", "ToDeviced", "Identityd", "DeleteItemsd", "SaveImaged", "SaveClassificationd"}


class Entry:
    """One component of a configuration: its name, and its arguments until they are taken."""

    def __init__(self, constants: Constants, described: Mapping[str, Any]) -> None:
        target = str(described.get("_target_", ""))
        self.name = target.rpartition(".")[2]
        if "." in target and not target.startswith("monai."):
            raise NotUnderstood(f"{target} is the bundle's own code")
        self._constants = constants
        self._left = {key: value for key, value in described.items() if key not in ("_target_", "_desc_", "_disabled_")}

    def take(self, name: str, default: Any = None) -> Any:
        """Return an argument's value; one that is given in a list for each key counts as the first of it."""
        found = self._left.pop(name, _MISSING)
        return default if found is _MISSING else self._constants.value(found)

    def first(self, name: str, default: Any = None) -> Any:
        """Return an argument that may be given in a list, one for each key: the first."""
        found = self.take(name, default)
        return found[0] if isinstance(found, list) and found else found

    def ignore(self, *names: str) -> None:
        """Pass over arguments that do not matter here."""
        for name in names:
            self._left.pop(name, None)

    def raw(self, name: str) -> str:
        """Return an argument as it is written."""
        return str(self._left.pop(name, ""))

    def require(self, name: str, *allowed: Any) -> None:
        """Take an argument that may only be one of these, or absent.

        Raises:
            NotUnderstood: it is another.
        """
        value = self.first(name, allowed[0])
        if value not in allowed:
            raise NotUnderstood(f"{self.name} with {name} = {value!r}")

    def done(self) -> None:
        """Say that nothing else is expected.

        Raises:
            NotUnderstood: there are arguments left.
        """
        self.ignore("keys", "allow_missing_keys", "lazy")
        if self._left:
            raise NotUnderstood(f"{self.name} with {', '.join(sorted(self._left))}")


def chain(constants: Constants, name: str) -> list[Entry]:
    """Return the components of a section that is a `Compose`, without those that are switched off.

    Raises:
        NotUnderstood: there is no such section, it is something else, or it works on several images at once.
    """
    section = constants.section(name)
    if str(section.get("_target_", "")).rpartition(".")[2] != "Compose" or set(section) - {"_target_", "transforms"}:
        raise NotUnderstood(f"{name} is no plain chain of transforms")
    entries, keys = [], set()
    for described in constants.value(section.get("transforms", [])):
        if not isinstance(described, Mapping):
            raise NotUnderstood(f"{name} holds {described!r}")
        if str(constants.value(described.get("_disabled_", False))).lower() == "true":
            continue
        found = constants.value(described.get("keys", []))
        keys.update(found if isinstance(found, list) else [found])
        entries.append(Entry(constants, described))
    if len(keys) > 1:
        raise NotUnderstood(f"{name} works on {', '.join(sorted(map(str, keys)))}")
    return entries


def step_of(entry: Entry) -> Step | None:
    """Return what a transform of the preprocessing does, `None` if that is nothing here.

    Raises:
        NotUnderstood: the transform, or something that it says, has no place in a plan.
    """
    if entry.name in NOTHING:
        return None
    if entry.name not in _STEPS:
        raise NotUnderstood(f"{entry.name or 'a step without a name'} is not known")
    step = _STEPS[entry.name](entry)
    entry.done()
    return step


def _loaded(entry: Entry) -> None:
    entry.ignore("reader", "image_only", "ensure_channel_first", "simple_keys", "affine_lps_to_ras")
    entry.require("dtype", "float32", None)


def _with_channel(entry: Entry) -> None:
    entry.ignore("strict_check")
    entry.require("channel_dim", None, "no_channel")


def _typed(entry: Entry) -> None:
    entry.ignore("device", "wrap_sequence")
    entry.require("data_type", "tensor")
    entry.require("dtype", None, "float32")
    entry.require("track_meta", None, True)


def _oriented(entry: Entry) -> Orient:
    entry.require("as_closest_canonical", False)
    entry.require("labels", None)
    axes = str(entry.take("axcodes", "")).upper()
    if sorted("LAI".find(letter.translate(str.maketrans("RPS", "LAI"))) for letter in axes) != [0, 1, 2]:
        raise NotUnderstood(f"orientation {axes!r}")
    return Orient(axes=axes)


def _respaced(entry: Entry) -> Respace:
    # Where voxels are read does not hang on `align_corners`: MONAI maps indices either way.
    entry.ignore("align_corners", "dtype")
    for switch in ("diagonal", "scale_extent", "recompute_affine"):
        entry.require(switch, False)
    entry.require("min_pixdim", None)
    entry.require("max_pixdim", None)
    modes, pads = {"bilinear": False, "nearest": True}, {"border": True, "zeros": False}
    mode, pad = entry.first("mode", "bilinear"), entry.first("padding_mode", "border")
    if mode not in modes or pad not in pads:
        raise NotUnderstood(f"Spacingd with {mode} and {pad}")
    given = entry.take("pixdim")
    spacing = [float(each) for each in (given if isinstance(given, list) else [given])][:3]
    spacing += spacing[-1:] * (3 - len(spacing))
    return Respace(spacing_mm=(spacing[0], spacing[1], spacing[2]), nearest=modes[mode], border=pads[pad])


def _scaled(entry: Entry) -> Scale:
    ends = [entry.take(name) for name in ("a_min", "a_max", "b_min", "b_max")]
    entry.require("dtype", "float32", None)
    if None in ends or ends[0] == ends[1]:
        raise NotUnderstood(f"ScaleIntensityRanged from {ends[0]}–{ends[1]} to {ends[2]}–{ends[3]}")
    low, high, to_low, to_high = map(float, ends)
    return Scale(low=low, high=high, to_low=to_low, to_high=to_high, clip=bool(entry.take("clip", False)))


def _stretched(entry: Entry) -> Stretch:
    entry.require("factor", None)
    entry.require("dtype", "float32", None)
    low, high = entry.take("minv", 0.0), entry.take("maxv", 1.0)
    if low is None or high is None:
        raise NotUnderstood("ScaleIntensityd without both ends")
    return Stretch(to_low=float(low), to_high=float(high), channel_wise=bool(entry.take("channel_wise", False)))


def _standardised(entry: Entry) -> Standardise:
    entry.require("subtrahend", None)
    entry.require("divisor", None)
    entry.require("dtype", "float32", None)
    return Standardise(nonzero=bool(entry.take("nonzero", False)), channel_wise=bool(entry.take("channel_wise", False)))


def _cropped(entry: Entry) -> CropForeground:
    entry.ignore("source_key", "start_coord_key", "end_coord_key", "mode")
    entry.require("channel_indices", None)
    entry.require("k_divisible", 1)
    margin, smaller = entry.take("margin", 0), bool(entry.take("allow_smaller", False))
    if not isinstance(margin, int) or (margin and not smaller):
        raise NotUnderstood("CropForegroundd with a margin that may lie outside of the volume")
    return CropForeground(margin=margin)


def _padded(entry: Entry) -> Pad:
    entry.require("mode", "constant")
    method, size = entry.first("method", "symmetric"), entry.take("spatial_size")
    sizes = [int(each) for each in size] if isinstance(size, list) else [int(size)] * 3
    if method not in ("symmetric", "end") or len(sizes) != 3:
        raise NotUnderstood(f"SpatialPadd by {method} to {size}")
    value = float(entry.take("value", 0.0))
    return Pad(size=(sizes[0], sizes[1], sizes[2]), value=value, both_sides=method == "symmetric")


_STEPS: dict[str, Callable[[Entry], Step | None]] = {
    "LoadImaged": _loaded,
    "EnsureChannelFirstd": _with_channel,
    "EnsureTyped": _typed,
    "CastToTyped": _typed,
    "Orientationd": _oriented,
    "Spacingd": _respaced,
    "ScaleIntensityRanged": _scaled,
    "ScaleIntensityd": _stretched,
    "NormalizeIntensityd": _standardised,
    "CropForegroundd": _cropped,
    "SpatialPadd": _padded,
}
