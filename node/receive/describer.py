"""The child that reads what strangers wrote: one JSON line a job on standard input, one line an answer, in order.

It may crash, hang or run out of memory; then the parent knows which instance did it. It opens no network, writes no
file, and holds no database.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pydicom
import pydicom.config
import pydicom.pixels.decoders  # loads the codecs, before the limits are set
from pydicom.errors import InvalidDicomError

from node.receive.content import content_digest, locate, pixel_digest
from node.receive.fields import MALFORMED, instance_of, is_ours
from node.receive.protocol import ANSWER, JOB, READY, Answer, Job

#: What a header can raise as a whole.
_UNREADABLE = (*MALFORMED, InvalidDicomError, OSError, EOFError, MemoryError)
#: Open files: the pipes, the object, and what a codec opens.
_FILES = 32


def describe(job: Job, limit_s: float) -> Answer:
    """Read header and pixels of one object; decoding gets half of `limit_s` seconds."""
    deadline_s = time.monotonic() + limit_s / 2
    try:
        with Path(job.path).open("rb") as stream:
            header = pydicom.dcmread(stream, stop_before_pixels=True)
            value = locate(stream, str(header.file_meta.TransferSyntaxUID))
            instance = instance_of(header, issuer=job.issuer, has_pixels=value is not None)
            digest = ""
            if value is not None and instance.pixels is not None:
                pixels = replace(instance.pixels, undecodable=job.undecodable or instance.pixels.undecodable)
                digest, problem = pixel_digest(stream, header, value, pixels, deadline_s=deadline_s)
                instance = replace(instance, pixels=replace(pixels, undecodable=problem))
    except _UNREADABLE as error:
        text = " ".join(str(error).split())[:300]
        return Answer(id=job.id, undescribable=f"{type(error).__name__}: {text}" if text else type(error).__name__)
    described = replace(instance, content_digest=content_digest(instance, digest))
    return Answer(id=job.id, instance=described, ours=is_ours(described))


def main(memory_bytes: int, limit_s: float) -> None:
    """Answer jobs until standard input ends."""
    # Codecs may print: the answers' pipe is kept from them.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    _limit(memory_bytes)
    answers.write(READY)
    for line in sys.stdin.buffer:
        # The default action of SIGALRM ends the process, also inside a codec that hangs.
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        answer = describe(JOB.validate_json(line), limit_s)
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(ANSWER.dump_json(answer, exclude_defaults=True) + b"\n")


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
