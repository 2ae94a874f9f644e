"""What holds wherever a network computes: sums that come out the same, and which errors leave nothing to go on with."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import torch

#: What PyTorch and its libraries say where they raise a plain RuntimeError for want of memory. cuDNN finds no engine
#: where none fits into what is left.
_FULL = (
    *("out of memory", "can't allocate memory", "failed to allocate memory", "not enough memory"),
    *("alloc_failed", "bad_alloc", "unable to find an engine"),
)
#: What they say where a GPU has failed in the midst of its work.
_LOST = ("CUDA error", "CUDNN_STATUS_EXECUTION_FAILED", "CUDNN_STATUS_INTERNAL_ERROR")


def compute_exactly() -> None:
    """Compute the same each time, and on a GPU as exactly as on a CPU; before the first network of this process runs.

    Unless it is told, cuDNN multiplies float32 with the 10 bits of TF32, and tries which way is the fastest today.
    """
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def is_memory(error: BaseException) -> bool:
    """Whether an error, or what it came of, says that memory ran out: less may still be computed."""
    return any(
        isinstance(each, MemoryError | torch.OutOfMemoryError)
        or (isinstance(each, RuntimeError) and tells_of_memory(each))
        for each in _with_causes(error)
    )


def tells_of_memory(error: Exception) -> bool:
    """Whether the words of an error of another library's do."""
    return any(tell in str(error).lower() for tell in _FULL)


def is_lost(error: BaseException) -> bool:
    """Whether it says that a GPU has failed: this process can compute nothing on it any more, and has to end."""
    return not is_memory(error) and any(
        isinstance(each, torch.AcceleratorError)
        or (isinstance(each, RuntimeError) and any(tell in str(each) for tell in _LOST))
        for each in _with_causes(error)
    )


def give_back() -> None:
    """Give the GPU back what nobody holds any more: what was computed before memory ran out."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def wait_for(device: torch.device) -> None:
    """Wait until all that was asked of a GPU is done, so that time can be taken; a CPU is done already."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Something small of the host's on the device; where that is a GPU, nobody waits until it is there."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from: MONAI wraps what a step raises."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
