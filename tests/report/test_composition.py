"""The file of a dataset, in pieces, is the one that pydicom writes whole."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.uid import RLELossless

from node.report.composition import encode, parts
from tests.report.synthetic import SCANS, Scan, build, evidence_on

Series = Callable[[Scan], list[Path]]


def written_by_pydicom(dataset: Dataset) -> bytes:
    stream = BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["seg", "labelmap_seg", "measurement_sr"])
def test_the_pieces_are_the_file_that_pydicom_writes(kind: str, series: Series) -> None:
    dataset = build(evidence_on(series(SCANS["oblique"])), kind)
    assert encode(dataset) == written_by_pydicom(dataset)


def test_native_pixels_are_not_copied(series: Series) -> None:
    dataset = build(evidence_on(series(SCANS["axial"])), "seg")
    assert parts(dataset)[-1] is dataset.PixelData


def test_what_follows_the_pixels_is_written_too(series: Series) -> None:
    dataset = build(evidence_on(series(SCANS["axial"])), "seg")
    dataset.DataSetTrailingPadding = b"\0\0"
    assert encode(dataset) == written_by_pydicom(dataset)


def test_encapsulated_pixels_are_written_as_such(series: Series) -> None:
    dataset = build(evidence_on(series(SCANS["axial"])), "labelmap_seg")
    dataset.compress(RLELossless, generate_instance_uid=False)
    assert encode(dataset) == written_by_pydicom(dataset)
