"""Studies large enough to be looked at, with all that is sent of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage

from node.domain.uid import derived_uid
from node.report.composition import compose, encode
from node.report.evidence import Evidence
from tests.report.outputs.test_seg import with_two_segments
from tests.report.synthetic import AVAILABLE, Scan, classified, explained, mr_series, not_performed, oblique, of_study

_SIZE = {"slices": 24, "rows": 256, "columns": 256, "spacing_mm": (2.5, 0.8, 0.8)}
SCANS = {"axial CT": Scan(**_SIZE), "oblique MR": Scan(**_SIZE, orientation=oblique(17.3, -8.1))}
#: A report as viewers cannot read it has this number.
UNREADABLE = 9001


@dataclass(frozen=True, kw_only=True)
class Study:
    """Images, what a model found in them, and what it is written as."""

    uid: str
    paths: tuple[Path, ...]
    evidence: Evidence
    outputs: dict[str, Dataset]

    @property
    def series(self) -> int:
        """How many there are."""
        return 1 + len(self.outputs)


def everything_on_ct(folder: Path) -> Study:
    """An axial CT with one of everything that OHIF opens, and a report at which it stops."""
    paths = _images(folder, "axial CT")
    evidence = explained(with_two_segments(paths))
    kinds = ["measurement_sr", "comprehensive_sr", "enhanced_sr", "basic_text_sr", "parametric_map"]
    outputs = compose(evidence, kinds, AVAILABLE, {})
    outputs |= compose(classified(evidence), ["classification_sr"], AVAILABLE, {})
    outputs |= compose(not_performed(evidence), ["not_performed_sr"], AVAILABLE, {})
    outputs |= compose(of_study(evidence), ["secondary_capture"], AVAILABLE, {})
    outputs["unreadable"] = _without_coordinates(outputs["measurement_sr"])
    return Study(uid=evidence.study_instance_uid, paths=tuple(paths), evidence=evidence, outputs=outputs)


def measured_on_mr(folder: Path) -> Study:
    """An oblique MR with a Segmentation, and its measurements as OHIF takes them over."""
    paths = _images(folder, "oblique MR")
    evidence = replace(with_two_segments(paths), profile="ohif")
    outputs = compose(evidence, ["measurement_sr"], AVAILABLE, {})
    return Study(uid=evidence.study_instance_uid, paths=tuple(paths), evidence=evidence, outputs=outputs)


def _images(folder: Path, name: str) -> list[Path]:
    """A body with waves in it, bright on black, in a study of its own."""
    scan = SCANS[name]
    paths = mr_series(folder, scan)
    rows, columns = np.indices((scan.rows, scan.columns))
    body = ((rows / scan.rows - 0.5) / 0.42) ** 2 + ((columns / scan.columns - 0.5) / 0.36) ** 2 < 1
    waves = 1064 + 40 * np.sin(rows / 9) + 40 * np.cos(columns / 7)
    for number, path in enumerate(paths):
        dataset = dcmread(path)
        dataset.StudyInstanceUID = derived_uid(name, "study")
        dataset.SeriesInstanceUID = derived_uid(name, "series")
        dataset.FrameOfReferenceUID = derived_uid(name, "frame of reference")
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = derived_uid(name, number)
        if name == "axial CT":
            dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
            dataset.Modality, dataset.RescaleSlope, dataset.RescaleIntercept = "CT", 1, -1024
        dataset.PixelData = np.where(body, waves + number, 24).astype("<u2").tobytes()
        dataset.save_as(path, enforce_file_format=True)
    return paths


def _without_coordinates(report: Dataset) -> Dataset:
    """The same report, but with groups that refer to segments alone."""
    changed = dcmread(BytesIO(encode(report)))
    changed.SOPInstanceUID = changed.file_meta.MediaStorageSOPInstanceUID = derived_uid("unreadable", "instance")
    changed.SeriesInstanceUID, changed.SeriesNumber = derived_uid("unreadable", "series"), UNREADABLE
    [measurements] = [item for item in changed.ContentSequence if _meaning(item) == "Imaging Measurements"]
    groups = measurements.ContentSequence
    measurements.ContentSequence = [
        group for group in groups if "Image Region" not in map(_meaning, group.ContentSequence)
    ]
    assert 0 < len(measurements.ContentSequence) < len(groups)
    return changed


def _meaning(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning) if "ConceptNameCodeSequence" in item else ""
