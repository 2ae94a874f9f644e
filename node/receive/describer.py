"""The child that reads what strangers wrote: one JSON line a job on standard input, one line an answer, in order.

It may crash, hang or run out of memory; then the parent knows which instance did it. It opens no network, writes no
file, and holds no database.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys
import time
import warnings
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pydicom.config
import pydicom.pixels.decoders  # loads the codecs, before the limits are set
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from node.errors import Refused
from node.receive.content import content_digest, locate, pixel_digest
from node.receive.fields import MALFORMED, instance_of, is_ours
from node.receive.frames import read_header
from node.receive.part10 import LONGEST_HEAD, head, read_meta
from node.receive.protocol import ANSWER, JOB, READY, Answer, Job
from node.receive.windows import Windows, inflated

#: What a header can raise as a whole.
_UNREADABLE = (*MALFORMED, InvalidDicomError, OSError, EOFError, MemoryError, struct.error)
#: Open files: the pipes, the object, and what a codec opens.
_FILES = 32
#: Where this process has no limit.
_MEMORY_BYTES = 2 << 30


def describe(job: Job, limit_s: float) -> Answer:
    """Read header and pixels of one object; decoding gets half of `limit_s` seconds."""
    deadline_s = time.monotonic() + limit_s / 2
    try:
        with Path(job.path).open("rb") as file:
            deflated, stream = _inflated(file)
            header, frames = read_header(stream)
            value = locate(stream, str(header.file_meta.TransferSyntaxUID))
            instance = instance_of(header, issuer=job.issuer, has_pixels=value is not None, frames=frames)
            digest = ""
            if value is not None and instance.pixels is not None:
                pixels = replace(instance.pixels, undecodable=job.undecodable or instance.pixels.undecodable)
                digest, problem = pixel_digest(stream, header, value, pixels, deadline_s=deadline_s)
                instance = replace(instance, pixels=replace(pixels, undecodable=problem))
    except Refused as error:
        return Answer(id=job.id, undescribable=error.reason)
    except _UNREADABLE as error:
        text = " ".join(str(error).split())[:300]
        return Answer(id=job.id, undescribable=f"{type(error).__name__}: {text}" if text else type(error).__name__)
    if deflated:
        instance = replace(instance, transfer_syntax_uid=deflated)
    described = replace(instance, content_digest=content_digest(instance, digest))
    return Answer(id=job.id, instance=described, ours=is_ours(described))


def _inflated(file: BinaryIO) -> tuple[str, BinaryIO]:
    """Return the transfer syntax of a deflated object and what it is inflated; "" and the file itself for any other.

    pydicom would inflate without a limit, and pixels would be looked for where they are not.

    Raises:
        Refused: it inflates to more than a quarter of the memory that this process may have.
    """
    meta = read_meta(file.read(LONGEST_HEAD))
    file.seek(0)
    if meta.transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        return "", file
    limits = [resource.getrlimit(each)[0] for each in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    most = min((limit for limit in limits if limit != resource.RLIM_INFINITY), default=_MEMORY_BYTES) // 4
    size = os.fstat(file.fileno()).st_size - meta.dataset_offset
    stream = BytesIO()
    stream.write(
        head(
            sop_class_uid=meta.sop_class_uid,
            sop_instance_uid="",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            sending="",
            receiving="",
        )
    )
    for piece in inflated(Windows(file.fileno(), meta.dataset_offset, size), most):
        stream.write(piece)
    stream.seek(0)
    return meta.transfer_syntax_uid, stream


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
    # What it may write to. Not the address space: libraries and what numpy reserves take half of that unused.
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
