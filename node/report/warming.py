"""One small report at the start, so that the first real one finds highdicom's tables loaded (a third of a second)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
from pydicom import Dataset
from pydicom.uid import MRImageStorage

from node.domain.finding import Code, Finding, Segment
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard
from node.domain.uid import derived_uid
from node.report.composition import compose, encode
from node.report.evidence import Evidence
from node.report.outputs import Output
from node.report.sources import normalise

_TERM = Code("12738006", "SCT", "Brain")
_SIZE = 8


def warm(kinds: tuple[str, ...], available: Mapping[str, Output]) -> None:
    """Build and encode `kinds` for a made-up study, and forget them."""
    for dataset in compose(_made_up(), kinds, available, {}).values():
        encode(dataset)


def _made_up() -> Evidence:
    step = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    grid = Grid((2, _SIZE, _SIZE), (step[2], step[1], step[0], step[3]))
    return Evidence(
        sources=normalise([_slice(0), _slice(1)], grid),
        grid=grid,
        mask=np.ones((2, _SIZE, _SIZE), np.uint8),
        findings=(Finding(code=_TERM, segment_number=1), Finding(code=_TERM, probability=0.5)),
        card=ModelCard(
            name="warm-up",
            version="0",
            title="Warm-up",
            purpose="None",
            intended_use="None",
            licence="",
            citation="",
            manufacturer="",
            pipeline="",
            weights=(),
            requires=(),
            procedure=_TERM,
            segments=(Segment(number=1, label="All", category=_TERM, type=_TERM),),
        ),
        model_digest="0" * 64,
        card_digest="0" * 64,
        content_digest="0" * 64,
        run_number=1,
        revision=1,
        finished_at=datetime(2000, 1, 1, tzinfo=UTC),
    )


def _slice(number: int) -> Dataset:
    header = Dataset()
    header.SOPClassUID = MRImageStorage
    header.SOPInstanceUID = derived_uid("warm-up", number)
    header.StudyInstanceUID = derived_uid("warm-up study")
    header.SeriesInstanceUID = derived_uid("warm-up series")
    header.Modality = "MR"
    header.ImagePositionPatient = [0.0, 0.0, float(number)]
    header.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    header.PixelSpacing = [1.0, 1.0]
    header.Rows = header.Columns = _SIZE
    return header
