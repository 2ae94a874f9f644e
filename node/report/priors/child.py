"""The process that reads what strangers have reported: a JSON line a question on standard input, a line an answer.

It may crash, hang or run out of memory; then the room knows of which object. It opens no network, writes no file, and
holds no database.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import struct
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom.config
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from node.domain.prior_document import DETECTION_REPORTS, DocumentKind, PriorDocument
from node.errors import Failed, Unsuitable
from node.report.priors import measured, narrative, segments, volumes
from node.report.priors.messages import ANSWER, QUESTION, READY, Answer, Question
from node.report.priors.tree import Node, key, plain, read_tree

#: What an object can raise as a whole.
_UNREADABLE = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, NotImplementedError, LookupError),
    *(InvalidDicomError, OSError, EOFError, RecursionError, struct.error, Warning),
)
#: No report is larger, bytes; of a document only the beginning is read, of a segmentation too before it is measured.
MOST_BYTES = 32 << 20
#: What follows says nothing of segments, or is a document's own bytes.
_FRAMES, _ENCAPSULATED = 0x52009229, 0x00420011
_FILES = 16
_UNDEFINED = 0xFFFFFFFF
_LONGEST_TITLE = 128
_ALGORITHM_NAME = ("DCM", "111001")
_OBSERVER_TYPE, _DEVICE, _PERSON = ("DCM", "121005"), ("DCM", "121007"), ("DCM", "121006")


def read(question: Question) -> Answer:
    """Read one object."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The rest of it, which pydicom would do without, may be what says "no".
            warnings.filterwarnings("error", message="End of file reached")
            return Answer(document=_document(question))
    except (Unsuitable, Failed) as error:
        return Answer(unreadable=str(error))
    except MemoryError:
        return Answer(unreadable="it takes more memory than an object may")
    except RecursionError:
        return Answer(unreadable="it is nested too deeply")
    except _UNREADABLE as error:
        # Not the error's text, which may tell of the patient.
        return Answer(unreadable=f"it is damaged ({type(error).__name__})")


def _document(question: Question) -> PriorDocument:
    dataset = _opened(question)
    if str(dataset.get("SOPInstanceUID", "")) != question.sop_instance_uid:
        raise Unsuitable("it is not the object that was indexed")
    document = _head(dataset)
    if question.kind is DocumentKind.ENCAPSULATED:
        return replace(document, title=_text(dataset, "DocumentTitle"))
    if question.kind is DocumentKind.SEGMENTATION:
        found, left_out = segments.findings(dataset)
        if question.images:
            found = volumes.measured(found, dataset, Path(question.path), question.images)
        return replace(
            document,
            title=_text(dataset, "SeriesDescription") or _text(dataset, "ContentDescription"),
            by_device=any(each.algorithm for each in found),
            findings=found,
            made_on=segments.made_on(dataset),
            # The header that was read ends before the frames, which name images, too.
            made_of=segments.made_of(dcmread(question.path, stop_before_pixels=True) if question.images else dataset),
            drawn=segments.is_drawn(dataset),
            left_out=left_out,
        )
    root = read_tree(dataset)
    found, left_out = measured.findings(root)
    return replace(
        document,
        title=root.concept.meaning if root.concept else "",
        completion=_text(dataset, "CompletionFlag"),
        verification=_text(dataset, "VerificationFlag"),
        preliminary=_text(dataset, "PreliminaryFlag"),
        by_device=question.sop_class_uid in DETECTION_REPORTS or _is_by_device(root),
        passages=narrative.passages(root),
        coded=narrative.coded(root),
        findings=found,
        left_out=left_out,
    )


def _opened(question: Question) -> Dataset:
    path = Path(question.path)
    if question.kind is DocumentKind.REPORT:
        if path.stat().st_size > MOST_BYTES:
            raise Unsuitable(f"a report of more than {MOST_BYTES >> 20} MiB")
        dataset = dcmread(path)
        _check_whole(dataset)
        return dataset
    last = _FRAMES if question.kind is DocumentKind.SEGMENTATION else _ENCAPSULATED

    def is_beyond(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return bool(tag >= last)

    with path.open("rb") as stream:
        return read_partial(stream, stop_when=is_beyond)


def _check_whole(dataset: Dataset) -> None:
    """See that the last value is as long as it says: pydicom takes what is there.

    Raises:
        Unsuitable: the end is missing.
    """
    for tag in dataset.keys():  # noqa: SIM118 - iterating over a data set decodes each value
        raw: Any = dataset.get_item(tag)
        is_raw = isinstance(raw, RawDataElement) and raw.value is not None and raw.length != _UNDEFINED
        if is_raw and len(raw.value) < raw.length:
            raise Unsuitable("its end is missing")


def _head(dataset: Dataset) -> PriorDocument:
    maker = " ".join(filter(None, (_text(dataset, "Manufacturer"), _text(dataset, "ManufacturerModelName"))))
    return PriorDocument(made_by=plain(maker, _LONGEST_TITLE), document_date=_text(dataset, "ContentDate")[:8])


def _is_by_device(root: Node) -> bool:
    """Whether devices alone have observed it (PS3.16 TID 1002), or an algorithm has and no person is named."""
    types = {(each.code.scheme, each.code.value) for each in root.named(_OBSERVER_TYPE) if each.code is not None}
    if _PERSON in types:
        return False
    return _DEVICE in types or any(key(each.concept) == _ALGORITHM_NAME for each in root.each())


def _text(dataset: Dataset, keyword: str) -> str:
    return plain(str(dataset.get(keyword, "") or ""), _LONGEST_TITLE)


def main(memory_bytes: int, limit_s: float) -> None:
    """Answer questions until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    # Nothing of what a stranger wrote reaches the log.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    sys.excepthook = lambda kind, _error, _trace: sys.__stderr__ and sys.__stderr__.write(f"{kind.__name__}\n")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    answers.write(READY)
    for line in sys.stdin.buffer:
        # The default action of SIGALRM ends the process, also where it hangs.
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        answer = read(QUESTION.validate_json(line))
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(ANSWER.dump_json(answer, exclude_defaults=True) + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
