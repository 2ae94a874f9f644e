"""What a model process does once it is confined: load its model, say so, and read what it is told to."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from node.catalogue.weights import digest_of_file, digest_of_model, files_of
from node.errors import Failed, MatinsError
from node.imaging import doubt, pipelines
from node.imaging.device import compute_exactly
from node.imaging.pipelines import Fitting, Runner
from node.infer.messages import REPLY, START, Reply, ReplyKind, Start, line
from node.infer.reader import Reader, kind_of

#: What a study is told with that was read so.
_FRUGAL_NOTE = "The process ran out of memory before: computed with less memory."


def serve(first_line: bytes, questions: int, answers: BinaryIO, confinement: str) -> int:
    """Serve one model until `questions` (a file descriptor) ends; return the exit code."""
    start = START.validate_json(first_line)
    say = _voice(answers)
    started = time.perf_counter()
    try:
        runner, others, device = load(start)
    except MatinsError as error:
        say(Reply(kind=kind_of(error), reason=str(error)))
        return 1
    timings = {"load_s": time.perf_counter() - started}
    # What explains itself takes longer than the network: nobody waits for others' maps.
    many = not start.frugal and not start.card.explanation.methods and doubt.reads_many(start.card, runner, others)
    say(Reply(kind=ReplyKind.READY, device=device, confinement=confinement, timings=timings, reads_many=many))
    notes = (_FRUGAL_NOTE,) if start.frugal else ()
    on_cpu = None if device == "cpu" else partial(_on_cpu, start)
    with Reader(start.card, runner, say, others=others, notes=notes, on_cpu=on_cpu) as reader:
        reader.listen(questions)
        reader.serve()
    return 0


def load(start: Start) -> tuple[Runner, tuple[Runner, ...], str]:
    """Verify the weights, load them and warm up; return the runner, those of an ensemble's others, and the device.

    Raises:
        Misconfigured, Failed: they are not what was trusted, or cannot be loaded here.
    """
    weights = {role: Path(path) for role, path in start.weights.items()}
    _verify(start, weights)
    import torch

    device = start.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise Failed('[infer] device is "cuda", but PyTorch sees no GPU: mend the driver, or set it to "auto"')
    threads = start.threads or len(os.sched_getaffinity(0))
    # Each thread works in memory of its own.
    torch.set_num_threads(max(1, threads // 2) if start.frugal else threads)
    compute_exactly()
    fitting = Fitting(
        card=start.card,
        folder=Path(start.folder),
        weights=weights,
        device=device,
        model_digest=start.model_digest,
        evidence=Path(start.evidence) if start.evidence else None,
        own_code=start.own_code,
        frugal=start.frugal,
    )
    runner = pipelines.named(start.card.pipeline).load(doubt.alone(fitting))
    others = doubt.members(fitting)
    if start.card.explanation.methods:
        from node.imaging.explain import methods

        for name in start.card.explanation.methods:
            methods.named(name)
    runner.warm_up()
    return runner, others, device


def _on_cpu(start: Start) -> tuple[Runner, tuple[Runner, ...]]:
    runner, others, _ = load(replace(start, device="cpu"))
    return runner, others


def _verify(start: Start, weights: dict[str, Path]) -> None:
    try:
        files = files_of(start.card, Path(start.folder), weights)
        digest = digest_of_model({name: digest_of_file(path) for name, path in files.items()})
    except OSError as error:
        raise Failed(f"a file of the model {start.card.name} cannot be read: {error}") from error
    if digest != start.model_digest:
        name = start.card.name
        problem = f"the files of the model {name} are not those that were trusted"
        raise Failed(f"{problem}. Look at them, then run `matins models trust {name}`")


def _voice(answers: BinaryIO) -> Callable[[Reply], None]:
    """How this process answers: from any thread, a whole line at a time, with the memory that it has held."""
    one_at_a_time = threading.Lock()

    def say(reply: Reply) -> None:
        held, total = _device_bytes()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        told = replace(reply, resident_bytes=peak, device_bytes=held, device_total_bytes=total)
        with one_at_a_time:
            answers.write(line(REPLY, told))
            answers.flush()

    return say


def _device_bytes() -> tuple[int, int]:
    """Most of the GPU's memory that was held so far, and how much there is; 0, 0 without one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0, 0
    return torch.cuda.max_memory_reserved(), torch.cuda.get_device_properties(0).total_memory
