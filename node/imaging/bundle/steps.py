"""The steps of a bundle, resolved: its network, pre-processing, inferer and post-processing, from one parser.

One parser, because the post-processing undoes the pre-processing: `Invertd(transform="@preprocessing")` has to hold the
very object that the volume went through.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from monai.bundle.config_parser import ConfigParser
from monai.inferers.inferer import Inferer, SimpleInferer
from monai.transforms.compose import Compose
from monai.transforms.post.dictionary import AsDiscreted, Invertd, KeepLargestConnectedComponentd
from monai.utils.type_conversion import get_equivalent_dtype
from torch import nn

from node.errors import Misconfigured
from node.imaging.bundle import components
from node.imaging.bundle.configuration import LOADED, Configuration
from node.imaging.bundle.migrations import PYRAMID

#: What goes wrong inside a bundle's own steps, where neither MONAI nor its configuration promises a kind of error.
STEP_ERRORS = (
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(ImportError, AssertionError, NotImplementedError, OSError, SyntaxError),
)
#: From this many channels on, undoing the pre-processing for all at once costs more memory than there may be.
MOST_CHANNELS_AT_ONCE = 4

Transform = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """What the bundle's own loading step says; ours hands over the same."""

    keys: tuple[str, ...] = ("image",)
    dtype: torch.dtype = torch.float32
    channel_first: bool = False
    with_meta: bool = False
    #: The next step takes a dict; else the image itself.
    by_key: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A bundle's objects."""

    network: nn.Module
    loading: Loading
    preprocessing: Transform
    inferer: Inferer
    postprocessing: tuple[Transform, ...]
    #: MONAI's `RetinaNetDetector`, where the task is detection.
    detector: Any = None
    notes: tuple[str, ...] = ()


def resolved(configuration: Configuration, *, own_code: bool) -> Steps:
    """Make the objects that a gated configuration names.

    Raises:
        Misconfigured: MONAI cannot make one of them; says which, and why.
    """
    if own_code:
        _make_importable(configuration)
    parser = ConfigParser(configuration.content, globals=_names(configuration))
    content = configuration.content
    for section in configuration.required:
        _get(parser, section, configuration)
    network = _get(parser, "network" if "network" in content else "network_def", configuration)
    preprocessing = _get(parser, "preprocessing", configuration) if "preprocessing" in content else Compose([])
    inferer = _get(parser, "inferer", configuration) if "inferer" in content else SimpleInferer()
    postprocessing = _get(parser, "postprocessing", configuration) if "postprocessing" in content else Compose([])
    detector = _get(parser, "detector", configuration) if "detector" in content else None
    if not isinstance(network, nn.Module):
        raise _unfit(configuration, "network", f"is {type(network).__name__}, no network")
    steps = Steps(
        network=network.eval(),
        loading=_loading(_get(parser, LOADED, configuration), configuration),
        preprocessing=preprocessing,
        inferer=inferer,
        postprocessing=_flat(postprocessing),
        detector=detector.eval() if isinstance(detector, nn.Module) else None,
        notes=configuration.notes,
    )
    if any(isinstance(step, KeepLargestConnectedComponentd) for step in steps.postprocessing) and components.provide():
        steps = replace(steps, notes=(*steps.notes, components.NOTE))
    return steps


def _names(configuration: Configuration) -> dict[str, Any]:
    """What an expression finds beside MONAI, torch and numpy: our own parts that a migration put there."""
    if PYRAMID not in repr(configuration.content):
        return {}
    from node.imaging.bundle.feature_pyramid import resnet_feature_pyramid

    return {PYRAMID: resnet_feature_pyramid}


def _make_importable(configuration: Configuration) -> None:
    """Trusted Python of the bundle is found under its own name: one bundle a process."""
    folder = str(configuration.folder)
    # Compiled files beside the sources would be files that nobody trusted.
    sys.dont_write_bytecode = True
    if folder not in sys.path:
        sys.path.insert(0, folder)
        importlib.invalidate_caches()


def _get(parser: ConfigParser, section: str, configuration: Configuration) -> Any:
    try:
        with warnings.catch_warnings():
            # What MONAI and PyTorch will change one day is for who maintains the bundle, not for who reads its result.
            warnings.simplefilter("ignore")
            return parser.get_parsed_content(section)
    except STEP_ERRORS as error:
        raise _unfit(configuration, section, f"cannot be made: {cause(error)}") from error


def cause(error: BaseException) -> str:
    """The innermost of chained errors, in one line: MONAI wraps what a step raises."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = " ".join(str(error).partition("Original traceback")[0].split())
    return f"{type(error).__name__}: {said[:300]}" if said else type(error).__name__


def _loading(said: Any, configuration: Configuration) -> Loading:
    """What the first loading step that is not disabled says."""
    for each in said if isinstance(said, list) else []:
        if str(each.get("disabled", False)).strip().lower() == "true":
            continue
        keys = each.get("keys", "image")
        return Loading(
            keys=(str(keys),) if isinstance(keys, str) else tuple(str(key) for key in keys),
            dtype=_dtype(each.get("dtype")),
            channel_first=bool(each.get("ensure_channel_first", False)),
            with_meta=not each.get("image_only", True),
            by_key=str(each["step"]).endswith(("d", "Dict")),
        )
    inputs = configuration.metadata.get("network_data_format", {}).get("inputs", {})
    return Loading(keys=(next(iter(inputs), "image"),))


def _dtype(said: Any) -> torch.dtype:
    if said is None:
        return torch.float32
    return cast("torch.dtype", get_equivalent_dtype(said, torch.Tensor))  # type: ignore[no-untyped-call]


def _flat(transform: Any) -> tuple[Transform, ...]:
    """The transforms of a chain, one after the other."""
    if transform is None:
        return ()
    parts = transform.transforms if type(transform) is Compose else (transform,)
    if len(parts) == 1 and parts[0] is transform:
        return (transform,)
    return tuple(step for part in parts for step in (_flat(part) if type(part) is Compose else (part,)))


def _unfit(configuration: Configuration, section: str, problem: str) -> Misconfigured:
    return Misconfigured(configuration.folder / "configs", section, problem, "See what the bundle needs installed")


def finish(steps: tuple[Transform, ...], state: Mapping[str, Any], key: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Run post-processing on what the network gave; return what it leaves, and notes on how.

    Undoing the pre-processing of many channels before the arg-max is done channel by channel, with the arg-max kept
    running: the same labels, and memory for one channel instead of all.
    """
    left, notes = dict(state), tuple[str, ...]()
    pending = list(steps)
    while pending:
        step = pending.pop(0)
        if pending and _is_trap(step, pending[0], left.get(key), key):
            winner = cast("AsDiscreted", pending.pop(0))
            left = _running_argmax(cast("Invertd", step), left, key)
            # What the discretisation says beside the arg-max.
            left[key] = winner.converter(left[key], False, winner.to_onehot[0], winner.threshold[0], winner.rounding[0])
            notes = (*notes, f"{_channels(state[key])} channels were brought back to the series' grid one by one")
        else:
            left = step(left)
    return left, notes


def _channels(value: torch.Tensor) -> int:
    return int(value.shape[0])


def _is_trap(step: Transform, following: Transform, value: Any, key: str) -> bool:
    return (
        isinstance(step, Invertd)
        and isinstance(following, AsDiscreted)
        and isinstance(value, torch.Tensor)
        and _channels(value) > MOST_CHANNELS_AT_ONCE
        and tuple(step.keys) == (key,) == tuple(following.keys)
        and bool(following.argmax[0])
        and not {"dim", "keepdim"} & following.converter.kwargs.keys()
    )


def _running_argmax(undo: Invertd, state: dict[str, Any], key: str) -> dict[str, Any]:
    best: Any = None
    labels: Any = None
    given = state[key]
    after: dict[Any, Any] = dict(state)
    for channel in range(_channels(given)):
        alone: dict[Any, Any] = {**state, key: given[channel : channel + 1]}
        after = dict(undo(alone))
        values = after[key]
        if best is None:
            best, labels = values, torch.zeros_like(values)
        else:
            better = values > best
            best = torch.where(better, values, best)
            labels[better] = channel
    return {**after, key: labels}
