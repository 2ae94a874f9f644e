"""A model process that misbehaves: `fake_child.py BEHAVIOUR [FILE]`, on the channel of the real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def say(**reply: object) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def hang() -> None:
    while True:
        time.sleep(60)


def die(behaviour: str) -> None:
    """Die, hang or babble as asked."""
    if behaviour == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif behaviour == "exit":
        print("ValueError: it broke", file=sys.stderr)
        sys.exit(3)
    elif behaviour == "hang":
        hang()
    elif behaviour == "garbage":
        print("Epoch 1: loss 0.3", flush=True)
    elif behaviour == "no-line":
        while True:
            sys.stdout.write("x" * 65536)
    elif behaviour == "stranger":
        say(id="999", kind="done")
    elif behaviour == "family":
        child = subprocess.Popen(["sleep", "600"])
        Path(sys.argv[2]).write_text(str(child.pid))
        hang()


def main() -> None:
    behaviour = sys.argv[1]
    if behaviour == "deaf":
        hang()
    start = json.loads(sys.stdin.readline())
    if behaviour == "no-load":
        die("exit")
    if behaviour == "refuses":
        say(kind="failed", reason="no GPU here")
        return
    say(kind="ready", device="cpu", resident_bytes=int(sys.argv[2]) if behaviour == "large" else 1000)
    for line in sys.stdin:
        order = json.loads(line)
        if order["kind"] == "go":
            read(behaviour, order["id"], start["card"]["name"])


def read(behaviour: str, job_id: str, name: str) -> None:
    """Answer, or misbehave, as asked."""
    say(id=job_id, kind="started")
    if behaviour == "once" and not Path(sys.argv[2]).exists():
        Path(sys.argv[2]).write_text("died")
        die("segfault")
    if behaviour in ("unsuitable", "failed", "transient"):
        say(id=job_id, kind=behaviour, reason=f"{behaviour} for {name}")
    elif behaviour not in ("once", "large", "fine"):
        die(behaviour)
    else:
        say(id=job_id, kind="computed")
        say(id=job_id, kind="done", timings={"model_s": 0.1})


if __name__ == "__main__":
    main()
