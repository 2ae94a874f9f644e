"""The child that holds one model: `python -m node.infer.model_process`.

It reads a `Start` and then orders from standard input, a line each, and answers on what was standard output;
nothing else can get onto that channel. It may crash or hang as it likes: the parent knows what to do.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

from node.infer.confinement import be_expendable, confine

#: In the data folder: `store.artifacts.MASKS`, which is not imported before the process is confined.
RESULTS = "masks"


def main() -> int:
    """Serve one model until standard input ends; return the exit code."""
    answers = _take_standard_output()
    be_expendable()
    start = _first_line(0)
    told = confine(*_places(json.loads(start)))
    # Only now: a process with threads, and NumPy starts some, gets no namespaces.
    from node.infer.serving import serve

    return serve(start, 0, answers, told)


def _places(start: dict[str, str]) -> tuple[Path, Path | None, Path | None]:
    """The model's folder, and of a node its data folder, in which evidence lies, and the folder of the results."""
    data = Path(start["evidence"]).parent if start.get("evidence") else None
    return Path(start["folder"]), data, data / RESULTS if data else None


def _first_line(questions: int) -> bytes:
    """The first line, and not a byte more: what follows is for the reader."""
    found = bytearray()
    while not found.endswith(b"\n") and (byte := os.read(questions, 1)):
        found += byte
    return bytes(found)


def _take_standard_output() -> BinaryIO:
    """Keep the channel for answers, and let whatever else is printed, even by C code, go to standard error."""
    sys.stdout.flush()
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return channel


if __name__ == "__main__":
    sys.exit(main())
