"""A bundle's network and its weights."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from node.errors import Misconfigured

#: Under these keys checkpoints keep the weights.
_WRAPPINGS = ("model", "state_dict", "net", "network")
#: Put before every name by training on several devices.
_PARALLEL = "module."
_SAFETENSORS = ".safetensors"


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors by name of a file that torch.save, torch.jit.save or safetensors wrote; nothing in it is run.

    Raises:
        Misconfigured: it is none of these, holds code beside tensors, or holds no tensors.
    """
    try:
        found: Any = _read(path)
    except pickle.UnpicklingError as error:
        raise _unfit(path, "holds more than tensors", "Ask for a file of weights alone, or safetensors") from error
    except (RuntimeError, OSError, ValueError, EOFError, KeyError, SafetensorError) as error:
        raise _unfit(path, f"cannot be read ({_first_line(error)})", "Fetch the bundle again") from error
    for _ in range(2):
        inner = next((found[key] for key in _WRAPPINGS if isinstance(found, Mapping) and key in found), None)
        found = inner if isinstance(inner, Mapping) else found
    tensors = {str(key): each for key, each in dict(found).items() if isinstance(each, torch.Tensor)}
    if not tensors:
        raise _unfit(path, "holds no weights", "Give the file that training wrote")
    if all(name.startswith(_PARALLEL) for name in tensors):
        tensors = {name.removeprefix(_PARALLEL): each for name, each in tensors.items()}
    return tensors


def fill(network: nn.Module, path: Path) -> None:
    """Put the weights of a file into the network, every one of them.

    Raises:
        Misconfigured: the file cannot be read, or its weights are not those of this network.
    """
    weights = weights_of(path)
    try:
        missing, unexpected = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise _unfit(path, f"does not fit the network: {_first_line(error)}", _OTHER) from error
    if missing or unexpected:
        names = [f"lacks {name}" for name in missing[:2]] + [f"has {name}, unknown here" for name in unexpected[:2]]
        problem = f"does not fit the network: {', '.join(names)}"
        raise _unfit(path, f"{problem} ({len(missing)} missing, {len(unexpected)} unknown)", _OTHER)


_OTHER = "Give the weights of the network that the configuration names"


def _read(path: Path) -> Any:
    if path.suffix == _SAFETENSORS:
        from safetensors.torch import load_file

        return load_file(path)
    if is_torchscript(path):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.load.* is deprecated", category=DeprecationWarning)
            return torch.jit.load(path, map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    return torch.load(path, map_location="cpu", weights_only=True)


def is_torchscript(path: Path) -> bool:
    """Whether torch.jit.save wrote the file."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _unfit(path: Path, problem: str, remedy: str) -> Misconfigured:
    return Misconfigured("model.toml", "weights", f"{path.name} {problem}", remedy)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    # PyTorch's first line says only that something does not fit; the second one says what.
    return (lines[1] if len(lines) > 1 else "".join(lines[:1]) or type(error).__name__)[:200]
