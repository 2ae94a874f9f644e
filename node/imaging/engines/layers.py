"""Networks made ready for an engine: a copy in the layout and type in which it computes, and less of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

import torch

from node.errors import Failed
from node.imaging.bundle.plan import Plan, Window
from node.imaging.engines.windows import Forward, Triple
from node.imaging.formats import Program

#: Voxels of a batch of windows: four of 96³, as bundles have it, keep the cores busy and a gibibyte free.
_BATCH_VOXELS = 4 * 96**3
#: The network's answer to them takes less than this.
_BATCH_ANSWER_BYTES = 512 << 20
#: Most halvings of an extent that a network is taken to make.
_MOST_HALVINGS = 5
#: Share that neighbours share in the sparser walk.
SPARSE = 0.25
#: A volume is given in one piece if the network's answer then takes less than this.
_WHOLE_ANSWER_BYTES = 1 << 30

#: A window of fewer voxels does not keep the cores busy by itself.
_SMALL_VOXELS = 64**3
_GPU_BATCH_VOXELS = 16 * 96**3
_LASTS = {4: torch.channels_last, 5: torch.channels_last_3d}

_CONVOLUTIONS = (
    *(torch.nn.Conv2d, torch.nn.Conv3d),
    *(torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d),
)
_NORMS = (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
_Norm = torch.nn.BatchNorm2d | torch.nn.BatchNorm3d


def module_of(
    network: torch.nn.Module, device: torch.device, dtype: torch.dtype, *, fold: bool = True
) -> torch.nn.Module:
    """Return a copy of `network` for inference alone, its kernels channels last; TorchScript is taken as it is.

    `fold`: batch norms become part of the convolutions before them, which differs by rounding alone.
    """
    if isinstance(network, torch.jit.ScriptModule):
        if dtype is not torch.float32:
            raise TypeError("TorchScript is run in the numbers that it was written with")
        return network.eval()
    copied = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    if fold:
        folded(copied)
    copied = copied.to(device=device, dtype=dtype)
    for parameter in copied.parameters():
        if parameter.ndim in _LASTS:
            parameter.data = parameter.data.contiguous(memory_format=_LASTS[parameter.ndim])
    return copied


def prepared(
    network: torch.nn.Module, device: torch.device, dtype: torch.dtype = torch.float32, *, fold: bool = False
) -> Forward:
    """Return a copy of `network` as something that takes float32 windows on any device (see `module_of`)."""
    module = module_of(network, device, dtype, fold=fold)

    def forward(windows: torch.Tensor) -> torch.Tensor:
        return one_answer(module(windows.to(device=device, dtype=dtype, memory_format=_LASTS[windows.ndim])))

    return forward


def one_answer(answer: Any) -> torch.Tensor:
    """Return the network's answer.

    Raises:
        Failed: it is no single array.
    """
    if not isinstance(answer, torch.Tensor):
        raise Failed(f"the network gave {type(answer).__name__}, not one array")
    return answer


def constant_batch(run: Forward, batch: int, device: torch.device, dtype: torch.dtype) -> Forward:
    """Return `run` for what was compiled for exactly `batch` windows: fewer are filled up with empty ones."""

    def forward(windows: torch.Tensor) -> torch.Tensor:
        count = len(windows)
        given = windows.to(device=device, dtype=dtype)
        if count < batch:
            given = torch.cat([given, given.new_zeros((batch - count, *given.shape[1:]))])
        return one_answer(run(channels_last(given)))[:count]

    return forward


def is_as_written(network: torch.nn.Module) -> bool:
    """Whether it computes in its own numbers and where it lies, whatever it is given: TorchScript and programs."""
    return any(isinstance(each, torch.jit.ScriptModule | Program) for each in network.modules())


def channels_last(windows: torch.Tensor) -> torch.Tensor:
    """Windows, (n, channel, …), with the channels of a voxel side by side in memory."""
    return windows.contiguous(memory_format=_LASTS[windows.ndim])


def example_of(network: torch.nn.Module, window: Window, batch: int) -> torch.Tensor:
    """Return empty windows such as the network is given.

    Raises:
        ValueError: the window has no fixed extent, or no convolution tells how many channels there are.
    """
    if not window.roi or min(window.roi) <= 0:
        raise ValueError("its windows have no fixed extent")
    channels = _channels(network)
    if channels is None:
        raise ValueError("its first layer is no convolution")
    return torch.zeros((batch, channels, *window.roi))


def _channels(network: torch.nn.Module) -> int | None:
    """How many channels the first convolution takes; of TorchScript its kernel alone tells."""
    if isinstance(network, torch.jit.ScriptModule):
        return next((each.shape[1] for each in network.parameters() if each.ndim in _LASTS), None)
    return next((layer.in_channels for layer in network.modules() if isinstance(layer, _CONVOLUTIONS)), None)


def half_precision(device: torch.device) -> str:
    """Say why there is no bfloat16; empty if there is."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "this GPU has no bfloat16"
    return ""


def folds(network: torch.nn.Module) -> bool:
    """Whether any batch norm of `network` can be folded."""
    return folded(copy.deepcopy(network).eval()) > 0


def folded(network: torch.nn.Module) -> int:
    """Make the batch norms that follow a convolution part of it, in place; return how many."""
    count = 0
    for module in network.children():
        count += folded(module)
    if not isinstance(network, torch.nn.Sequential):
        return count
    for (name, first), (_, second) in pairwise(list(network.named_children())):
        if not isinstance(first, _CONVOLUTIONS):
            continue
        found = _leading_norm(network, second)
        if found is None or not found[2].track_running_stats:
            continue
        holder, norm_name, norm = found
        transpose = isinstance(first, torch.nn.ConvTranspose2d | torch.nn.ConvTranspose3d)
        setattr(network, name, torch.nn.utils.fusion.fuse_conv_bn_eval(first, norm, transpose=transpose))
        setattr(holder, norm_name, torch.nn.Identity())
        count += 1
    return count


def _leading_norm(parent: torch.nn.Module, module: torch.nn.Module) -> tuple[torch.nn.Module, str, _Norm] | None:
    """What holds the batch norm that sees the output of the convolution before `module`, its name there, and it."""
    if isinstance(module, _NORMS):
        name = next(name for name, child in parent.named_children() if child is module)
        return parent, name, module
    if isinstance(module, torch.nn.Sequential):
        name, child = next(iter(module.named_children()), ("", None))
        return (module, name, child) if isinstance(child, _NORMS) else None
    return None


def fair_batch(window: Window, network: torch.nn.Module) -> int:
    """Return how many windows are given at once in single precision: several, where memory allows."""
    if not window.roi or min(window.roi) <= 0:
        return max(1, window.batch)
    voxels = prod(window.roi)
    layers = [layer for layer in network.modules() if isinstance(layer, _CONVOLUTIONS)]
    # The last layer is that of the classes; of a hundred, one window's answer is a third of a gibibyte.
    classes = layers[-1].out_channels if layers else 1
    most = min(_BATCH_VOXELS // voxels, _BATCH_ANSWER_BYTES // (4 * classes * voxels))
    return max(1, min(max(window.batch, 4), most))


def narrow_batch(window: Window, network: torch.nn.Module, device: torch.device) -> int:
    """Return how many windows are given at once in half precision: on a CPU one, if it is not small."""
    if device.type == "cuda":
        return gpu_batch(window)
    small = window.roi and min(window.roi) > 0 and prod(window.roi) < _SMALL_VOXELS
    return fair_batch(window, network) if small else 1


def gpu_batch(window: Window) -> int:
    """Return how many windows keep a GPU busy."""
    if not window.roi or min(window.roi) <= 0:
        return max(1, window.batch)
    return max(1, min(64, _GPU_BATCH_VOXELS // prod(window.roi)))


def multiple(window: Window) -> int:
    """Return what every extent must be a multiple of, as far as the bundle's own window tells."""
    sizes = [size for size in window.roi if size > 0]
    step = 1 << _MOST_HALVINGS
    while sizes and any(size % step for size in sizes):
        step //= 2
    return step


def sparser(window: Window) -> Window:
    """Return the same windows with an overlap of a quarter.

    Raises:
        ValueError: it is not more as it is.
    """
    if not window.overlap or max(window.overlap) <= SPARSE:
        raise ValueError("its windows overlap by no more than a quarter")
    return replace(window, overlap=tuple(min(share, SPARSE) for share in window.overlap))


def whole(plan: Plan, network: torch.nn.Module, forward: Forward) -> Callable[[Triple], Window]:
    """Return what lays one window over a volume, filled up to what the network can halve.

    Where the answer would take more than a gibibyte, the bundle's own windows.

    Raises:
        ValueError: the network sees single slices, or everything already.
    """
    own = plan.window
    if own.slice_axis is not None:
        raise ValueError("it sees one slice at a time")
    classes = forward(example_of(network, own, 1)).shape[1]
    step = multiple(own)

    def window(shape: Triple) -> Window:
        roi = tuple(-(-size // step) * step for size in shape)
        if 4 * classes * prod(roi) > _WHOLE_ANSWER_BYTES:
            return own
        return replace(own, roi=roi, overlap=(0.0,) * 3)

    return window
