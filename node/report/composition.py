"""From evidence to the bytes of every output asked for."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO

from pydicom import Dataset, dcmwrite

from node.report.evidence import Evidence
from node.report.outputs import Output, in_order

_LIBRARIES = ("highdicom", "pydicom")


def compose(
    evidence: Evidence, kinds: Iterable[str], available: Mapping[str, Output], given: Mapping[str, Dataset]
) -> dict[str, Dataset]:
    """Build `kinds` and what they refer to, except what is `given` already; return the new ones by kind.

    Raises:
        Failed: the evidence cannot be written as one of the outputs; nothing is returned.
    """
    known = dict(given)
    new = {}
    with _without_names_in_logs():
        for kind in in_order(kinds, available):
            if kind not in known:
                known[kind] = new[kind] = available[kind].build(evidence, known)
    return new


def encode(dataset: Dataset) -> bytes:
    """The dataset as a DICOM file (PS3.10 §7)."""
    stream = BytesIO()
    with _without_names_in_logs():
        dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


@contextmanager
def _without_names_in_logs() -> Iterator[None]:
    """Both libraries complain about values of the source by quoting them: names and IDs among them."""
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
