"""The describing child, made to die of objects whose file names say how; run as `python -m tests.receive.poisoned`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from node.domain.study import Instance
from node.receive import describer
from node.receive.protocol import Answer, Job

sound = describer.describe
typed = describer.instance_of


def eat(*_: object, **__: object) -> Instance:
    raise AssertionError(bytearray(1 << 45))


def describe(job: Job, limit_s: float) -> Answer:
    name = Path(job.path).name
    if name.startswith("crash") or (name.startswith("pixels") and not job.undecodable):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("leave"):
        os._exit(3)
    if name.startswith("hang"):
        time.sleep(1000)
    if name.startswith("hold") and not job.undecodable:
        time.sleep(1000)
    describer.instance_of = eat if name.startswith("eat") else typed
    if name.startswith("once"):
        try:
            os.mkdir(job.path + ".died")
        except FileExistsError:
            return sound(job, limit_s)
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("write"):
        Path(job.path).write_bytes(b"changed")
    return sound(job, limit_s)


if __name__ == "__main__":
    describer.describe = describe
    if sys.argv[2] == "0.25":
        raise SystemExit("it does not start")
    describer.main(int(sys.argv[1]), float(sys.argv[2]))
