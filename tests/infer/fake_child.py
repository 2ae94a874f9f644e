"""A model process that misbehaves: `fake_child.py BEHAVIOUR [FILE]`, on the channel of the real one."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from poison_kinds import BRIGHT, PIXEL_BYTES, Poison


def say(**reply: object) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def finish(job_id: str) -> None:
    # In one piece, so that what is let go by the first is not through before the second is heard.
    told = ({"id": job_id, "kind": "computed"}, {"id": job_id, "kind": "done", "timings": {"model_s": 0.1}})
    os.write(1, "".join(json.dumps(reply) + "\n" for reply in told).encode())


def hang() -> None:
    while True:
        time.sleep(60)


def die(behaviour: str) -> None:
    """Die, hang or babble as asked."""
    if behaviour == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif behaviour == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
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
    elif behaviour == "neighbour":
        # The study after this one, which it was only told to read ahead.
        text = os.read(0, 1 << 16)
        while text.count(b"\n") < 1:
            text += os.read(0, 1 << 16)
        say(id=json.loads(text.splitlines()[0])["job"]["id"], kind="done")
        hang()
    elif behaviour == "orphan":
        none = subprocess.DEVNULL
        child = subprocess.Popen(["sleep", "600"], stdin=none, stdout=none, stderr=none)
        Path(sys.argv[2]).write_text(str(child.pid))
        die("exit")
    elif behaviour == "family":
        child = subprocess.Popen(["sleep", "600"])
        Path(sys.argv[2]).write_text(str(child.pid))
        hang()


def first_line() -> bytes:
    """The first line and no byte more: the rest is read as it comes."""
    found = b""
    while not found.endswith(b"\n") and (byte := os.read(0, 1)):
        found += byte
    return found


def suffer(job: dict[str, Any]) -> None:
    """Mark what is bright in the pixels, unless the first of them says that the study is poison."""
    say(id=job["id"], kind="started")
    # The pixels, 16 bits each, are the end of the file.
    files = sorted(job["slices"], key=lambda each: each["instance"]["sop_instance_uid"])
    pixels = b"".join(Path(each["path"]).read_bytes()[-PIXEL_BYTES:] for each in files)
    values = struct.unpack(f"<{len(pixels) // 2}H", pixels)
    kind = next((kind for kind in Poison if kind.code == values[0]), None)
    if kind is Poison.NAN:
        say(id=job["id"], kind="failed", reason="1 voxels of the output are not numbers")
    elif kind is not None:
        die({Poison.MEMORY: "killed", Poison.EXIT: "exit"}.get(kind, kind.value))
    else:
        labels = bytes(value > BRIGHT for value in values)
        mask = Path(f"{job['stem']}.npz")
        mask.write_bytes(labels)
        file = {"kind": "mask", "path": str(mask), "size": len(labels), "digest": "d"}
        say(id=job["id"], kind="computed")
        say(id=job["id"], kind="done", files=[file], timings={"model_s": 0.0})


class Patient:
    """Reads each study until the test lets it go: a file in FOLDER named as the job, with what it is to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.depth = 0
        self.paused_at: set[int] = set()
        self.left = b""
        self.orders: list[dict[str, str]] = []

    def take(self, *, wait: bool) -> bool:
        """Take the next order, if there is one; `False` at the end."""
        while not self.orders:
            if not wait and not select.select([0], [], [], 0.01)[0]:
                return True
            read = os.read(0, 65536)
            if not read:
                return False
            *lines, self.left = (self.left + read).split(b"\n")
            self.orders = [json.loads(line) for line in lines]
        order = self.orders.pop(0)
        if order["kind"] == "go":
            self.depth += 1
            self.read(order["id"])
            self.depth -= 1
        elif order["kind"] == "pause":
            self.paused_at.add(self.depth)
            say(kind="paused")
        elif order["kind"] == "resume":
            self.paused_at.clear()
        return True

    def read(self, job_id: str) -> None:
        say(id=job_id, kind="started")
        file = self.folder / job_id
        while self.depth in self.paused_at or not file.exists():
            self.take(wait=self.depth in self.paused_at)
        what = file.read_text()
        if what != "done":
            die(what)
        finish(job_id)


def keep_company(folder: Path) -> None:
    """Answer several in one pass, which any file in FOLDER that is named as one of them poisons; note who came so."""
    for line in iter(first_line, b""):
        order = json.loads(line)
        if order["kind"] != "go":
            continue
        ids = [order["id"], *order.get("company", ())]
        with (folder / "passes").open("a") as stream:
            stream.write(" ".join(ids) + "\n")
        poisoned = [each for each in ids if (folder / each).exists()]
        if poisoned and len(ids) > 1:
            die((folder / poisoned[0]).read_text())
        for each in ids:
            say(id=each, kind="started")
            if each in poisoned:
                die((folder / each).read_text())
            say(id=each, kind="computed")
            say(id=each, kind="done", timings={"model_s": 0.01})


def main() -> None:
    behaviour = sys.argv[1]
    if behaviour == "deaf":
        hang()
    start = json.loads(first_line())
    if behaviour == "no-load":
        die("exit")
    if behaviour == "sleeps-as":
        while start["card"]["name"] == sys.argv[2] and not Path(sys.argv[3]).exists():
            time.sleep(0.01)
        behaviour = "refuses" if start["card"]["name"] == sys.argv[2] else "fine"
    if behaviour == "refuses":
        say(kind="failed", reason="no GPU here")
        return
    if behaviour == "company":
        say(kind="ready", device="cpu", reads_many=True)
        keep_company(Path(sys.argv[2]))
        return
    say(kind="ready", device="cpu", resident_bytes=int(sys.argv[2]) if behaviour == "large" else 1000)
    if behaviour == "patient":
        patient = Patient(Path(sys.argv[2]))
        while patient.take(wait=True):
            pass
        return
    if behaviour == "hungry" and not start.get("frugal"):
        behaviour = "killed"
    jobs: dict[str, dict[str, object]] = {}
    for line in iter(first_line, b""):
        order = json.loads(line)
        if order["kind"] == "prepare":
            jobs[order["job"]["id"]] = order["job"]
        elif order["kind"] == "go" and behaviour == "poison":
            suffer(jobs.pop(order["id"]))
        elif order["kind"] == "go":
            read(behaviour, order["id"], start["card"]["name"])


def read(behaviour: str, job_id: str, name: str) -> None:
    """Answer, or misbehave, as asked."""
    say(id=job_id, kind="started")
    if behaviour == "once" and not Path(sys.argv[2]).exists():
        Path(sys.argv[2]).write_text("died")
        die("segfault")
    if behaviour in ("unsuitable", "failed", "transient"):
        say(id=job_id, kind=behaviour, reason=f"{behaviour} for {name}")
    elif behaviour not in ("once", "large", "fine", "hungry"):
        die(behaviour)
    else:
        finish(job_id)


if __name__ == "__main__":
    main()
