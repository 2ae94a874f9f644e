"""Weights as they are shipped: safetensors, in half precision where nothing is lost by it that matters."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from node.errors import Failed
from node.imaging.bundle.network import weights_of

#: Greatest number that half precision holds (IEEE 754 binary16).
_LARGEST_HALF = 65504.0


def write_weights(source: Path, target: Path, *, half: bool = True) -> int:
    """Write the weights in `source` to `target`, and return the file's size in bytes.

    Kernels become half precision; what has one axis (biases, statistics of normalisations) is little and stays.

    Raises:
        Misconfigured: `source` cannot be read.
        Failed: a weight is not a number.
    """
    tensors = {name: _shipped(name, each, half=half) for name, each in weights_of(source).items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    # Nothing of where it was made: the format's own key alone.
    save_file(tensors, target, metadata={"format": "pt"})
    return target.stat().st_size


def _shipped(name: str, tensor: torch.Tensor, *, half: bool) -> torch.Tensor:
    # A copy of its own: two names for one memory are nothing that safetensors writes.
    tensor = tensor.detach().cpu().clone().contiguous()
    if not tensor.is_floating_point():
        return tensor
    if not bool(torch.isfinite(tensor).all()):
        raise Failed(f"the weight {name} holds values that are not numbers: nothing is exported")
    if half and tensor.ndim > 1 and tensor.numel() and float(tensor.abs().max()) <= _LARGEST_HALF:
        return tensor.half()
    return tensor.float()
