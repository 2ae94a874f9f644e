"""A study that a model has read, and what a reader draws on it: all files lie there, and all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from node.domain.finding import Code, Finding, Segment
from node.domain.study import Instance
from node.domain.uid import derived_uid
from node.domain.work import WorkKind
from node.receive.fields import instance_of
from node.report.priors.handling import read_back
from node.report.priors.reader import DocumentReader
from node.store import instances, studies, work_items
from node.store.database import Database
from node.workflow import reading
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from tests.fakes import FakeClock, arrive, model, policy
from tests.foreign_reports import masked, written
from tests.report.synthetic import Scan, mr_series

NODULE = Code("27925004", "SCT", "Nodule")
EMBOLISM = Code("59282003", "SCT", "Pulmonary embolism")
CATEGORY = Code("49755003", "SCT", "Morphologically Altered Structure")
SEGMENTS = tuple(
    Segment(number=number, label=code.meaning, category=CATEGORY, type=code)
    for number, code in enumerate((NODULE, EMBOLISM), 1)
)
MODEL = "nodules"
UID = "1.2.3.9"
#: What every series says of its patient.
WHOSE: dict[str, object] = {"IssuerOfPatientID": "A"}


class Room:
    """A node whose model `nodules` reads every study; what comes is described, closed and read at once."""

    def __init__(self, db: Database, clock: FakeClock, folder: Path, reader: DocumentReader) -> None:
        self.db, self.clock, self.folder, self.reader = db, clock, folder, reader
        self.policy: Policy = policy(model(name=MODEL, segments=SEGMENTS, requires=(), volumes=()))

    def series(self, scan: Scan | None = None, name: str = "", **header: object) -> list[Dataset]:
        """Make a series, let it come, and let the model find a nodule in it; return its images.

        With a name it is a second series of the study, on the same frame of reference.
        """
        made = scan or Scan()
        paths = mr_series(self.folder / f"series{name}", replace(made, header={**WHOSE, **made.header, **header}))
        for path in paths if name else ():
            image = dcmread(path)
            image.SeriesInstanceUID = derived_uid("test series", name)
            image.SOPInstanceUID = derived_uid("test instance", name, image.InstanceNumber)
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            image.save_as(path, enforce_file_format=True)
        self.come(paths)
        return [dcmread(path) for path in paths]

    def correction(
        self, images: Sequence[Dataset], change: Callable[[Dataset], None] | None = None, **where: int
    ) -> Dataset:
        """Let a nodule come that a reader has drawn."""
        made = masked(UID, images, ball(images, **where))
        for item in made.SegmentSequence:
            item.SegmentAlgorithmType = "MANUAL"
        if change is not None:
            change(made)
        self.come([written(self.folder, made)])
        return made

    def come(self, paths: Sequence[Path]) -> None:
        described: Instance | None = None
        for path in paths:
            described = instance_of(dcmread(path), issuer="", has_pixels=True)
            arrive(self.db, self.clock.now(), described)
            row = self.db.row("SELECT max(id) AS id FROM instance")
            assert row is not None
            with self.db.transaction():
                instances.move(self.db, row["id"], str(path))
        assert described is not None
        with self.db.transaction():
            studies.request_closing(self.db, described.study_instance_uid)
        self.work()

    def work(self) -> None:
        close_due(self.db, self.clock.forward(1), self.policy)
        for item in work_items.claim(self.db, self.clock.now(), WorkKind.INFER, "infer:1", 60, limit=9):
            with self.db.transaction():
                if reading.begin(self.db, self.clock.now(), item) is not None:
                    found = [Finding(code=NODULE, segment_number=1, tracking_uid="2.25.1")]
                    assert reading.complete(self.db, self.clock.now(), self.policy, item, found, [], {})
        for item in work_items.claim(self.db, self.clock.now(), WorkKind.READ_PRIOR, "report:1", 60, limit=9):
            read_back(self.db, self.clock, self.policy, self.reader, item)


def ball(images: Sequence[Dataset], at: int = 3) -> NDArray[np.bool_]:
    """12 pixels on each of three slices."""
    mask = np.zeros((len(images), images[0].Rows, images[0].Columns), bool)
    mask[at - 1 : at + 2, 5:8, 6:10] = True
    return mask
