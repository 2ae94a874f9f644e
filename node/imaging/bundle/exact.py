"""A bundle run with its own transforms and its own inferer: what MONAI's `bundle run` computes, in single precision.

Arrays lie as a NIfTI file of the series would hold them: (column, row, slice) with a RAS affine, or (column, row) for
an image, as MONAI reads pictures. Bundles that state no orientation were trained on that.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any, cast

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import list_data_collate
from monai.inferers.inferer import Inferer, SliceInferer, SlidingWindowInferer
from monai.transforms.inverse_batch_transform import Decollated
from monai.transforms.spatial.array import SpatialResample
from monai.transforms.utility.array import EnsureChannelFirst
from numpy.typing import NDArray

from node.domain.geometry import Grid
from node.errors import Failed
from node.imaging.bundle.steps import STEP_ERRORS, Steps, cause, finish
from node.imaging.device import is_lost, is_memory, wait_for
from node.imaging.pipelines import STILL, Pulse

#: Key of the network's answer among what a bundle's steps hand on.
PRED = "pred"
#: LPS → RAS.
_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
#: Affines that differ by less than this share of their largest entry are the same.
_SAME = 1e-5


def from_volumes(arrays: Sequence[NDArray[Any]], grid: Grid) -> MetaTensor:
    """Return (slice, row, column) arrays on one grid as MONAI would load them from files: several become channels."""
    affine = (_RAS @ grid.matrix)[:, [2, 1, 0, 3]]
    parts = [torch.from_numpy(np.ascontiguousarray(array.T, dtype=np.float32)) for array in arrays]
    # Files that are read together are stacked in front; a single one has no channel.
    stacked = torch.stack(parts) if len(parts) > 1 else parts[0]
    return MetaTensor(
        stacked,
        affine=torch.from_numpy(affine),
        meta={
            "original_affine": affine,
            "spatial_shape": np.array(parts[0].shape),
            "space": "RAS",
            "original_channel_dim": 0 if len(parts) > 1 else float("nan"),
            "filename_or_obj": "",
        },
    )


def from_image(array: NDArray[Any]) -> MetaTensor:
    """Return a (row, column) or (row, column, colour) image as MONAI would load it from a picture."""
    swapped = np.ascontiguousarray(np.moveaxis(array, 0, 1), dtype=np.float32)
    return MetaTensor(
        torch.from_numpy(swapped),
        meta={
            "spatial_shape": np.array(swapped.shape[:2]),
            "original_channel_dim": -1 if swapped.ndim > 2 else float("nan"),
            "filename_or_obj": "",
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the network made of one volume or image."""

    #: What the inferer returned, for a batch of one.
    output: Any
    #: What the network was given: (1, channel, …).
    given: MetaTensor
    #: All that pre-processing left, as a batch of one.
    batch: Mapping[str, Any]
    source: MetaTensor
    #: Seconds.
    prepare_s: float = 0.0
    model_s: float = 0.0


@dataclass(slots=True)
class _Beats:
    """Calls the pulse before each pass of the network."""

    pulse: Pulse = STILL
    done: int = 0
    total: int = 1

    def __call__(self, *_: Any) -> None:
        self.pulse.beat(self.done, max(self.total, self.done + 1))
        self.done += 1


@dataclass(slots=True)
class Exact:
    """A bundle's steps on a device."""

    steps: Steps
    device: torch.device
    _beats: _Beats = field(default_factory=_Beats)

    def __post_init__(self) -> None:
        self.steps.network.to(self.device)

    def begin(self, pulse: Pulse, images: int = 1) -> None:
        """Count windows anew, over this many images."""
        self._beats.pulse, self._beats.done, self._beats.total = pulse, 0, images

    def predict(self, sources: Sequence[MetaTensor]) -> Answer:
        """Prepare and read one volume or image: one source, or one for each key that the bundle loads.

        Raises:
            Failed: a step of the bundle failed, or the network gave values that are not numbers.
        """
        started = time.perf_counter()
        made = self.prepare(sources)
        given = made.given
        self._beats.total = max(self._beats.total, windows(self.steps.inferer, tuple(given.shape[2:])))
        prepared = time.perf_counter()
        # Not for good: others look at the network, compile it and copy it.
        felt = self.steps.network.register_forward_pre_hook(self._beats)
        try:
            with torch.no_grad(), _quiet("the network"):
                output = self._inferred(given)
                wait_for(self.device)
        finally:
            felt.remove()
        model_s = time.perf_counter() - prepared
        if isinstance(output, torch.Tensor):
            check_numbers(output)
        prepare_s = prepared - started
        return replace(made, output=output, prepare_s=prepare_s, model_s=model_s)

    def prepare(self, sources: Sequence[MetaTensor]) -> Answer:
        """What the network is given of one volume or image, without an output yet.

        Raises:
            Failed: a step of the bundle failed.
        """
        loading = self.steps.loading
        if len(sources) != len(loading.keys):
            raise Failed(f"the bundle loads {len(loading.keys)} images, and {len(sources)} are at hand")
        with torch.no_grad(), _quiet("the pre-processing"):
            loaded = [self._as_loaded(source) for source in sources]
            state: Any = dict(zip(loading.keys, loaded, strict=True)) if loading.by_key else loaded[0]
            if loading.by_key and loading.with_meta:
                state |= {f"{key}_meta_dict": dict(each.meta) for key, each in state.items()}
            state = self.steps.preprocessing(state)
            batch = list_data_collate([state if isinstance(state, dict) else {loading.keys[0]: state}])
            given = batch["image" if "image" in batch else loading.keys[0]].to(self.device)
        return Answer(output=None, given=given, batch=batch, source=sources[0])

    def finish(self, answer: Answer) -> tuple[torch.Tensor, tuple[str, ...]]:
        """Post-process, and return (channel, …) values on the grid of the source, with notes on how.

        Raises:
            Failed: a step failed, or its result does not lie on the source.
        """
        key = self.steps.loading.keys[0]
        with torch.no_grad(), _quiet("the post-processing"):
            output = {"image": answer.given, PRED: answer.output}
            batches = Decollated(keys=None, detach=True)(dict(answer.batch))
            outputs = Decollated(keys=None, detach=True)(output)
            state = {**batches[0], **outputs[0]}
            state, notes = finish(self.steps.postprocessing, state, PRED)
            if PRED not in state:
                raise Failed(f"the post-processing leaves no result ({', '.join(map(str, state))})")
            at_source, more = _at_source(state[PRED], answer.source, key)
        return at_source, (*notes, *more)

    def _as_loaded(self, source: MetaTensor) -> MetaTensor:
        loaded = MetaTensor(source.to(self.steps.loading.dtype), meta=dict(source.meta))
        return cast("MetaTensor", EnsureChannelFirst()(loaded)) if self.steps.loading.channel_first else loaded

    def _inferred(self, given: MetaTensor) -> Any:
        detector = self.steps.detector
        if detector is None:
            return self.steps.inferer(given, self.steps.network)
        room = int(np.prod(detector.inferer.roi_size)) if detector.inferer is not None else None
        large = room is not None and given[0, 0].numel() >= room
        if large:
            self._beats.total = max(self._beats.total, windows(detector.inferer, tuple(given.shape[2:])))
        return detector([each.as_tensor() for each in given], use_inferer=large)


class _quiet:  # noqa: N801 it reads as a word of the `with` statement
    """Turns what goes wrong in a bundle's steps into `Failed`, and keeps its warnings from the log."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        self._warnings.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._warnings.__exit__(kind, error, trace)  # type: ignore[arg-type]
        # Whoever called can do with less, or has to end.
        if isinstance(error, STEP_ERRORS) and not is_memory(error) and not is_lost(error):
            raise Failed(f"{self._what} of the bundle failed: {cause(error)}") from error


def check_numbers(output: torch.Tensor) -> None:
    """Refuse an answer that is empty or not finite.

    Raises:
        Failed: it is.
    """
    if not output.numel():
        raise Failed(f"the network gave nothing: {tuple(output.shape)}")
    low, high = (float(value) for value in torch.aminmax(output.detach()))
    if not np.isfinite(low + high):
        raise Failed("the network gave values that are not numbers (NaN or infinite)")


def _at_source(result: Any, source: MetaTensor, key: str) -> tuple[torch.Tensor, tuple[str, ...]]:
    """The result on the grid of the source, where a bundle leaves that to the step that saves it."""
    shape = tuple(int(length) for length in source.meta["spatial_shape"])
    if not isinstance(result, torch.Tensor) or result.ndim != len(shape) + 1:
        found = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
        raise Failed(f"the result is {found}, no array of (channel, {', '.join(map(str, shape))})")
    here = getattr(result, "affine", None)
    there = source.affine
    same = here is None or torch.allclose(here.to(there), there, rtol=0, atol=_SAME * float(there.abs().max()))
    if tuple(result.shape[1:]) == shape and same:
        return result, ()
    if here is None or same:
        raise Failed(f"the result has the shape {tuple(result.shape[1:])}, the {key} {shape}")
    resample = SpatialResample(mode="nearest", padding_mode="border", align_corners=False)
    laid = resample(result, dst_affine=there, spatial_size=shape)
    return laid, ("the bundle leaves its result on a grid of its own; it was laid on that of the series",)


def windows(inferer: Inferer, shape: tuple[int, ...]) -> int:
    """How often an inferer calls the network for one array of this shape, about."""
    if not isinstance(inferer, SlidingWindowInferer):
        return 1
    batch = int(inferer.sw_batch_size)
    if isinstance(inferer, SliceInferer):
        slices = shape[inferer.spatial_dim]
        shape = tuple(size for axis, size in enumerate(shape) if axis != inferer.spatial_dim)
    else:
        slices = 1
    overlaps = inferer.overlap if isinstance(inferer.overlap, Sequence) else [inferer.overlap] * len(shape)
    sizes = inferer.roi_size if isinstance(inferer.roi_size, Sequence) else [inferer.roi_size] * len(shape)
    count = slices
    for size, asked, overlap in zip(shape, sizes, overlaps, strict=False):
        window = asked if asked and asked > 0 else size
        step = max(int(window * (1 - overlap)), 1)
        count *= 1 + ceil(max(size - window, 0) / step)
    return ceil(count / batch)
