from __future__ import annotations

import pytest
import torch
from monai.transforms import Compose

from node.imaging.device import compute_exactly, is_lost, is_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
)
def test_a_lack_of_memory_is_told_from_a_lost_gpu(error: BaseException):
    assert is_memory(error)
    assert not is_lost(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        torch.AcceleratorError("unspecified launch failure", 719),
    ],
)
def test_a_lost_gpu_is_told_from_a_networks_own_error(error: BaseException):
    assert is_lost(error)
    assert not is_memory(error)


def _wrapped(error: Exception) -> RuntimeError:
    """As MONAI's Compose hands on what one of its steps raised."""

    def step(_: object) -> None:
        raise error

    with pytest.raises(RuntimeError, match="applying transform") as told:
        Compose([step])(torch.zeros(1))
    return told.value


def test_what_a_step_of_a_bundle_raised_is_seen_through_monai():
    assert is_memory(_wrapped(torch.OutOfMemoryError("CUDA out of memory")))
    assert is_lost(_wrapped(torch.AcceleratorError("unspecified launch failure", 719)))
    other = _wrapped(ValueError("out of memory"))
    assert not is_memory(other)
    assert not is_lost(other)


@pytest.mark.parametrize(
    "error", [RuntimeError("sizes of tensors must match"), ValueError("out of memory"), KeyError("CUDA error")]
)
def test_any_other_error_is_neither(error: BaseException):
    assert not is_lost(error)
    assert not is_memory(error)


def test_float32_is_multiplied_as_float32_the_same_each_time():
    told = {
        (torch.backends.cudnn, "benchmark"): False,
        (torch.backends.cudnn, "deterministic"): True,
        (torch.backends.cudnn, "allow_tf32"): False,
        (torch.backends.cuda.matmul, "allow_tf32"): False,
    }
    before = {place: getattr(*place) for place in told}
    try:
        for place, wanted in told.items():
            setattr(*place, not wanted)
        compute_exactly()
        assert {place: getattr(*place) for place in told} == told
    finally:
        for place, value in before.items():
            setattr(*place, value)
