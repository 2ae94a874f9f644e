"""What a training needs to go on after it was killed: written whole after each epoch, or not at all."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from node.errors import Failed, Misconfigured

_LAST, _HISTORY = "last.pt", "history.jsonl"


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `file`, and put it in its place once it is on disk.

    Raises:
        Failed: the disk is full, or cannot be written to.
    """
    beside = file.with_name(f".{file.name}.part")
    try:
        write(beside)
        with beside.open("rb+") as stream:
            os.fsync(stream.fileno())
        beside.replace(file)
    except (OSError, RuntimeError, SafetensorError) as error:
        # A full disk is an OSError to Python, and something else to what writes tensors.
        beside.unlink(missing_ok=True)
        line = next(iter(str(error).splitlines()), type(error).__name__)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else line
        raise Failed(f"{file} cannot be written: {reason}. Once it can be, the same command goes on") from error


def save(folder: Path, state: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
    """Keep the state after an epoch, and what is told of all epochs so far."""
    lines = "".join(f"{json.dumps(each)}\n" for each in history)
    write_whole(folder / _HISTORY, lambda path: path.write_text(lines, encoding="utf-8"))
    write_whole(folder / _LAST, lambda path: torch.save({**state, "history": list(history)}, path))


def restore(folder: Path) -> dict[str, Any] | None:
    """Return the state as it was kept last; `None` where nothing was.

    Raises:
        Misconfigured: the file is there and cannot be read.
    """
    file = folder / _LAST
    if not file.exists():
        return None
    try:
        found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise Misconfigured(file, "", "is damaged", "Remove it: this training begins anew") from error
    return found


def stands(folder: Path) -> bool:
    """Say whether a training is under way, or was killed."""
    return (folder / _LAST).exists()


def forget(folder: Path) -> None:
    """Remove the state of a training that has ended; what was told of its epochs stays."""
    (folder / _LAST).unlink(missing_ok=True)


def history(folder: Path) -> list[dict[str, Any]]:
    """Return what was told of each epoch; empty where nothing was."""
    file = folder / _HISTORY
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
