"""The child that holds one model: `python -m node.infer.model_process`.

It reads a `Start` and then jobs from standard input, a line each, and answers each on what was standard
output; nothing else can get onto that channel. It may crash or hang as it likes: the parent knows what to do.
"""

from __future__ import annotations

import ctypes
import faulthandler
import hashlib
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from node.catalogue.weights import digest_of_file, digest_of_model, files_of
from node.domain.model_card import ModelCard
from node.errors import Failed, MatinsError, Transient, Unsuitable
from node.imaging import pipelines
from node.imaging.pipelines import Fitting, Given, Runner
from node.imaging.volume import read_volume
from node.infer.findings import Content, conclude
from node.infer.messages import JOB, REPLY, START, Job, Reply, ReplyFile, ReplyKind, Start, file_of, line
from node.store.files import write_durably
from node.triage.roles import card_of
from node.triage.suitability import slices_of

#: prctl(2): the signal that this process gets when its parent dies.
_PR_SET_PDEATHSIG = 1
#: Of all processes of the node the kernel should end this one first when memory runs out (proc(5)).
_OOM_SCORE = "500"


def main() -> int:
    """Serve one model until standard input ends; return the exit code."""
    answers = _take_standard_output()
    _be_expendable()
    questions = sys.stdin.buffer
    try:
        start = START.validate_json(questions.readline())
        started = time.perf_counter()
        runner, device = _load(start)
    except MatinsError as error:
        _say(answers, Reply(kind=_kind_of(error), reason=str(error)))
        return 1
    _say(answers, Reply(kind=ReplyKind.READY, device=device, timings={"load_s": time.perf_counter() - started}))
    for question in questions:
        _say(answers, answer(JOB.validate_json(question), start.card, runner))
    return 0


def answer(job: Job, card: ModelCard, runner: Runner) -> Reply:
    """Read one series, measure it, keep its files durably, and say how that went."""
    try:
        return _read(job, card, runner)
    except (Unsuitable, Failed, Transient) as error:
        return Reply(id=job.id, kind=_kind_of(error), reason=str(error))


def _read(job: Job, card: ModelCard, runner: Runner) -> Reply:
    started = time.perf_counter()
    given = _given(job, card)
    read_s = time.perf_counter() - started
    reading = runner.run(given)
    measured = time.perf_counter()
    concluded = conclude(card, given, reading, runner)
    files = tuple(_kept(job, each) for each in concluded.files)
    return Reply(
        id=job.id,
        kind=ReplyKind.DONE,
        findings=concluded.findings,
        notes=(*reading.notes, *concluded.notes),
        timings={"read_s": read_s, **reading.timings, "write_s": time.perf_counter() - measured},
        files=files,
    )


def _given(job: Job, card: ModelCard) -> Given:
    """Read what the model is given: a volume a role, in the card's order."""
    paths = {each.instance.sop_instance_uid: Path(each.path) for each in job.slices}
    volumes = {}
    for role in [each.name for each in card.roles] or [""]:
        slices = slices_of([each.instance for each in job.slices if each.role == role], card_of(card, role))
        volumes[role] = read_volume([(paths[each.sop_instance_uid], each) for each in slices])
    return Given(volumes=volumes)


def _kept(job: Job, made: Content) -> ReplyFile:
    path = file_of(job.stem, made.kind)
    content = made.encode()
    try:
        write_durably(path, content)
    except OSError as error:
        raise Transient(f"the {made.kind} cannot be written: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    return ReplyFile(kind=made.kind, path=str(path), size=len(content), digest=digest)


def _load(start: Start) -> tuple[Runner, str]:
    """Verify the weights, load them and warm up; return the runner and the device it is on."""
    weights = {role: Path(path) for role, path in start.weights.items()}
    _verify(start, weights)
    import torch

    device = start.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise Failed('[infer] device is "cuda", but PyTorch sees no GPU: mend the driver, or set it to "auto"')
    torch.set_num_threads(start.threads or len(os.sched_getaffinity(0)))
    # The same study gives the same mask, and on a GPU one as exact as on a CPU.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    fitting = Fitting(
        card=start.card,
        folder=Path(start.folder),
        weights=weights,
        device=device,
        model_digest=start.model_digest,
        evidence=Path(start.evidence) if start.evidence else None,
        own_code=start.own_code,
    )
    runner = pipelines.named(start.card.pipeline).load(fitting)
    runner.warm_up()
    return runner, device


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


def _kind_of(error: MatinsError) -> ReplyKind:
    if isinstance(error, Unsuitable):
        return ReplyKind.UNSUITABLE
    return ReplyKind.TRANSIENT if isinstance(error, Transient) else ReplyKind.FAILED


def _say(answers: BinaryIO, reply: Reply) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answers.write(line(REPLY, replace(reply, resident_bytes=peak)))
    answers.flush()


def _take_standard_output() -> BinaryIO:
    """Keep the channel for answers, and let whatever else is printed, even by C code, go to standard error."""
    sys.stdout.flush()
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return channel


def _be_expendable() -> None:
    """Die with the parent, leave no core (it would hold a patient's images), and be the first to go."""
    faulthandler.enable()
    # An orderly end is the end of standard input: a signal to the whole group must not cost a study.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before we asked
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


if __name__ == "__main__":
    sys.exit(main())
