"""Networks from files: TorchScript, torch.export, AOTInductor and ONNX, or weights alone for a network of MONAI.

The digest of each file was compared with the lock before any of this runs.
"""

from __future__ import annotations

import importlib
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export.passes import move_to_device_pass

from node.catalogue.bundle import components
from node.domain.preparation import Architecture
from node.errors import Failed, Misconfigured, first_line
from node.imaging.bundle import network as weights
from node.imaging.device import tells_of_memory

_PROGRAM = ".pt2"
_ONNX = ".onnx"
#: As exact as on a CPU, and the same each time: without TF32, and without trying which way is the fastest today.
_ON_GPU = ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})
#: Where a package of AOTInductor says for which kind of device it was compiled.
_COMPILED_FOR = "AOTI_DEVICE_KEY"


def network_of(
    path: Path, architecture: Architecture | None, device: torch.device, *, own_code: bool, batch: int = 1
) -> nn.Module:
    """Load the network in `path` onto `device`; what was exported for a number of inputs is given `batch` at once.

    Raises:
        Misconfigured: the file is none of these, is a program that nobody allowed, holds weights and the card names no
            architecture (or the other way round), or needs a package that is not installed.
    """
    if path.suffix == _ONNX:
        session = _Session(path, device)
        elsewhere = "" if session.is_on_gpu or device.type == "cpu" else "on the CPU: this ONNX Runtime has no GPU"
        found: nn.Module = Program(session, batch, torch.device("cpu"), elsewhere)
    elif path.suffix == _PROGRAM:
        if not own_code:
            remedy = "Look at where it comes from; then run `matins models trust NAME --allow-code`"
            raise _unfit(path, "is a program (torch.export or AOTInductor), and its code is not allowed", remedy)
        found = _program(path, device, batch)
    elif weights.is_torchscript(path):
        found = _torchscript(path, device)
    else:
        if architecture is None:
            raise _unfit(
                path, "holds weights alone", "Name their network in [architecture], or give TorchScript or ONNX"
            )
        found = built(architecture)
        weights.fill(found, path)
        return found.eval().to(device)
    if architecture is not None:
        raise Misconfigured("model.toml", "architecture", f"{path.name} brings its own network", "Remove the table")
    return found


def built(architecture: Architecture) -> nn.Module:
    """Make the network of MONAI that a card names, with no weights yet.

    Raises:
        Misconfigured: there is none of that name, or it does not take these arguments.
    """
    full = components.resolved(architecture.name)
    if full is None:
        problem = f'"{architecture.name}" is no network of MONAI'
        raise Misconfigured("model.toml", "architecture.name", problem, "Name one of monai.networks.nets")
    module, _, name = full.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)(**architecture.arguments)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, AssertionError, ImportError) as error:
        problem = f"{name} cannot be made: {first_line(error)}"
        raise Misconfigured("model.toml", "architecture.arguments", problem, "Correct the arguments") from error
    if not isinstance(found, nn.Module):
        raise Misconfigured("model.toml", "architecture.name", f"{name} is no network", "Name a network of MONAI")
    return found


class Program(nn.Module):
    """What computes (batch, channel, …) float32 by itself: an exported graph, a compiled library, an ONNX session.

    It knows no modes and takes no hooks; it is exported for `batch` inputs at once, and given no more or fewer. It
    computes on the `device` that it was made for, wherever its inputs lie.
    """

    def __init__(
        self, run: Callable[[torch.Tensor], torch.Tensor], batch: int, device: torch.device, elsewhere: str = ""
    ) -> None:
        super().__init__()
        #: Where it computes and why, if that is not where it was asked to.
        self.elsewhere = elsewhere
        # In a tuple it is no part of this module: an exported graph refuses to be put into evaluation mode.
        self._run, self._batch, self._device = (run,), batch, device

    def __deepcopy__(self, memo: object) -> Program:
        # There is nothing in it to change, and a session cannot be copied.
        return self

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Run it, batch by batch, the last one filled up."""
        answers = []
        for first in range(0, len(values), self._batch):
            part = values[first : first + self._batch].float()
            count = len(part)
            if count < self._batch:
                part = torch.cat([part, part.new_zeros((self._batch - count, *part.shape[1:]))])
            answers.append(self._run[0](part.to(self._device).contiguous())[:count].to(values.device))
        return torch.cat(answers)


class _Session:
    """An ONNX file with one input and one output, computed by ONNX Runtime."""

    def __init__(self, path: Path, device: torch.device) -> None:
        try:
            onnxruntime: Any = importlib.import_module("onnxruntime")
            errors: Any = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
        except ImportError:
            remedy = "Install it: pip install 'matins[onnx]'"
            raise _unfit(path, "needs ONNX Runtime, which is not installed", remedy) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        known = onnxruntime.get_available_providers()
        on_gpu = [_ON_GPU] if device.type == "cuda" and _ON_GPU[0] in known else []
        chosen = [*on_gpu, "CPUExecutionProvider"]
        try:
            # From its bytes: weights in another file are not looked for.
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=chosen)
        except (errors.Fail, errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument) as error:
            raise _unfit(
                path, f"is no sound ONNX file: {first_line(error)}", "Export it again, weights inside"
            ) from error
        except (errors.NotImplemented, errors.RuntimeException) as error:
            raise _unfit(
                path, f"cannot be run: {first_line(error)}", "Export it for this version of ONNX Runtime"
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            problem = f"has {len(inputs)} inputs and {len(outputs)} outputs"
            raise _unfit(path, problem, "Export the network with one input and one output")
        self._input = str(inputs[0].name)
        #: Whether a GPU computes; its inputs and answers are the host's all the same.
        self.is_on_gpu = _ON_GPU[0] in self._session.get_providers()
        self._faults = (errors.Fail, errors.InvalidArgument, errors.RuntimeException)

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Compute; values and answer are the host's.

        Raises:
            Failed: it takes no input of this size, or stopped in the midst.
            MemoryError: memory ran out.
        """
        try:
            answer = self._session.run(None, {self._input: values.detach().numpy()})[0]
        except self._faults as error:
            if tells_of_memory(error):
                raise MemoryError(first_line(error)) from error
            raise Failed(f"ONNX Runtime could not run the network: {first_line(error)}") from error
        return torch.from_numpy(np.asarray(answer, dtype=np.float32))


def _program(path: Path, device: torch.device, batch: int) -> nn.Module:
    try:
        with zipfile.ZipFile(path) as archive:
            compiled = any(name.endswith(".so") for name in archive.namelist())
        if compiled:
            run = torch._inductor.aoti_load_package(str(path))
            kind = run.get_metadata().get(_COMPILED_FOR, "cpu")
            if device.type == kind:
                return Program(run, batch, device)
            if device.type == "cpu":
                raise _unfit(path, f"is compiled for {kind}, not for CPUs", "Compile it for CPUs")
            return Program(run, batch, torch.device(kind), f"on the {kind.upper()}, for which it was compiled")
        # Graph and constants name the device they were exported on.
        program = move_to_device_pass(torch.export.load(path), device)
        return Program(program.module(), batch, device)
    except (RuntimeError, ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile, AssertionError) as error:
        remedy = "Export it again with the PyTorch that is installed here"
        raise _unfit(path, f"cannot be loaded: {first_line(error)}", remedy) from error


def _torchscript(path: Path, device: torch.device) -> nn.Module:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.load.* is deprecated", category=DeprecationWarning)
        try:
            found: nn.Module = torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            problem = f"is no TorchScript file: {first_line(error)}"
            raise _unfit(path, problem, "Give a file written by torch.jit.save") from error
    # A module around it takes the hooks that a script does not.
    return nn.Sequential(found.eval())


def _unfit(path: Path, problem: str, remedy: str) -> Misconfigured:
    return Misconfigured("model.toml", "weights", f"{path.name} {problem}", remedy)
