"""A GPU's stand-in: what is put on it stays there, and mixing it with what the host has raises as on a GPU.

Each operation is computed on the processor, so the values are real ones. What crosses between the two memories is
counted, and how often the host would wait. It stands in for no kernels, streams, graphs or compilers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

#: What is given as a device.
NAME = "standin"
# Autograd counts the devices once, at the first gradient of a process.
_setup_privateuseone_for_python_backend(NAME)
_ops = torch.ops.aten
#: They go between the two memories.
_COPIES = (_ops._to_copy.default, _ops.copy_.default)
#: PyTorch takes indices of the host for a tensor of the GPU.
_INDEXED = (_ops.index.Tensor, _ops.index_put_.default, _ops.index_put.default, _ops._index_put_impl_.default)
#: How much is there decides what is asked for next.
_COUNTED = (_ops.nonzero.default, _ops._local_scalar_dense.default)


@dataclass(slots=True)
class Traffic:
    """What went to the stand-in and came back."""

    sent_bytes: int = 0
    fetched_bytes: int = 0
    operations: int = 0
    #: How often the host had to have all that was asked for before it could go on.
    waits: int = 0


class OnGpu(torch.Tensor):
    """A tensor of the stand-in's memory; `held` has its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Self:
        """Say of `held` that it lies there."""
        made: Self = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=f"{NAME}:0",
            requires_grad=held.requires_grad,
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute one operation for a thread of autograd's, which has entered no mode."""
        return _computed(func, args, dict(kwargs or {}), Traffic())


class _Operations(TorchDispatchMode):
    """Each operation is computed where it would be computed."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute one."""
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            # Without gradients PyTorch hands over what consists of others.
            with self:
                return func.decompose(*args, **(kwargs or {}))
        return _computed(func, args, dict(kwargs or {}), self._traffic)


class _Functions(TorchFunctionMode):
    """What PyTorch does to a tensor without an operation."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call one function."""
        if func is torch.tensor and _is_there(wanted := (kwargs or {}).get("device")):
            # Made where its numbers are, and sent.
            return func(*args, **{**(kwargs or {}), "device": "cpu"}).to(wanted)
        if not args or not isinstance(args[0], OnGpu):
            return func(*args, **(kwargs or {}))
        if getattr(func, "__self__", None) is torch.Tensor.data:
            if func.__name__ == "__get__":
                return OnGpu(args[0].held.detach())
            args[0].held = args[1].held
            return None
        if func is torch.Tensor.tolist:
            self._traffic.waits += 1
            return args[0].held.tolist()
        return func(*args, **(kwargs or {}))


@contextmanager
def gpu() -> Iterator[Traffic]:
    """There is a GPU of that name."""
    traffic = Traffic()
    # A module gets new parameters: one cannot become a GPU's where it is.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with _Operations(traffic), _Functions(traffic):
            yield traffic
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


def _computed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], traffic: Traffic) -> Any:
    given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    there = [each for each in given if isinstance(each, OnGpu)]
    into_there = bool(there)
    if func is _ops.copy_.default:
        into_there = isinstance(args[0], OnGpu)
    elif kwargs.get("device") is not None:
        into_there = _is_there(kwargs["device"])
        kwargs["device"] = torch.device("cpu")
    if there and func not in _COPIES:
        _refuse_mixed(func, args, given)
    known = {id(each.held): each for each in there}
    result = func(*tree_map(_values, args), **tree_map(_values, kwargs))
    if into_there or there:
        traffic.operations += 1
        traffic.waits += func in _COUNTED or not into_there
        if func in _COPIES and given[-1].numel():
            traffic.sent_bytes += given[-1].nbytes * (not isinstance(given[-1], OnGpu))
            traffic.fetched_bytes += given[-1].nbytes * (not into_there)

    def put(each: Any) -> Any:
        if not into_there or not isinstance(each, torch.Tensor):
            return each
        return known[id(each)] if id(each) in known else OnGpu(each)

    return tree_map(put, result)


def _is_there(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _values(argument: Any) -> Any:
    return argument.held if isinstance(argument, OnGpu) else argument


def _refuse_mixed(func: Any, args: tuple[Any, ...], given: Sequence[torch.Tensor]) -> None:
    """Refuse what a GPU refuses: tensors of the host beside its own, unless they are single numbers or indices."""
    for each in tree_leaves((args[0], args[2:])) if func in _INDEXED else given:
        if isinstance(each, torch.Tensor) and not isinstance(each, OnGpu) and each.dim():
            raise RuntimeError(f"Expected all tensors to be on the same device: {func} of {NAME} and {each.device}")
