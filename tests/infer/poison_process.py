"""The real model process with a network that some studies poison: `poison_process.py`. It needs no torch."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from node.errors import Failed
from node.imaging.pipelines import STILL, Given, Pulse, Reading
from node.infer import model_process, serving
from node.infer.messages import START, Reply, ReplyKind
from node.infer.reader import Reader
from tests.infer.poison_kinds import BRIGHT, MODEL_S, Poison


class Poisoned:
    """Marks what is bright; what the first voxel says may stand in the way."""

    def warm_up(self) -> None:
        """Nothing to prepare."""

    def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
        array = given.volume.array
        for window in range(5):
            time.sleep(MODEL_S / 5)
            pulse.beat(window + 1, 5)
        score = array.astype(np.float32)
        self._suffer(int(array.flat[0]), score)
        if not np.isfinite(score).all():
            raise Failed(f"{np.count_nonzero(~np.isfinite(score))} voxels of the output are not numbers")
        return Reading(labels=(score > BRIGHT).astype(np.uint8), timings={"model_s": MODEL_S})

    def _suffer(self, said: int, score: np.ndarray) -> None:
        if said == Poison.SEGFAULT.code:
            ctypes.string_at(0)
        elif said == Poison.HANG.code:
            while True:
                time.sleep(60)
        elif said == Poison.EXIT.code:
            os._exit(7)
        elif said == Poison.NAN.code:
            score[0, 0, 0] = np.nan
        elif said == Poison.MEMORY.code:
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does; to take all memory would end others too


def _serve(first_line: bytes, questions: int, answers: BinaryIO, confinement: str) -> int:
    """As the real one, with nothing to load."""
    start = START.validate_json(first_line)
    say = serving._voice(answers)
    say(Reply(kind=ReplyKind.READY, device="cpu", confinement=confinement))
    with Reader(start.card, Poisoned(), say) as reader:
        reader.listen(questions)
        reader.serve()
    return 0


if __name__ == "__main__":
    serving.serve = _serve
    sys.exit(model_process.main())
