"""What benchmarks/report.py starts from, and the way of highdicom alone: as its guide has it, with nothing of ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import highdicom as hd  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from pydicom import Dataset  # noqa: E402
from pydicom.sr.codedict import codes  # noqa: E402
from pydicom.uid import CTImageStorage, generate_uid  # noqa: E402

from node.domain.finding import MILLILITRE, Code  # noqa: E402
from node.domain.geometry import Grid  # noqa: E402
from node.domain.uid import derived_uid  # noqa: E402
from node.report.contour import largest_region, outline  # noqa: E402
from node.report.sources import normalise  # noqa: E402

#: Slices, rows, columns.
SHAPE = (300, 512, 512)
TERM = Code("12738006", "SCT", "Brain")
CATEGORY = Code("123037004", "SCT", "Anatomical Structure")


def bodies(segments: int) -> NDArray[np.uint8]:
    """Ellipsoids side by side, of many lengths: (slice, row, column) uint8."""
    mask = np.zeros(SHAPE, np.uint8)
    across = int(np.ceil(np.sqrt(segments)))
    size = 512 // across
    rows, columns = np.ogrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    for number in range(1, segments + 1):
        top, left = ((number - 1) // across) * size, ((number - 1) % across) * size
        length = 90 + (number * 53) % 160
        first = (number * 37) % (300 - length)
        for index in range(length):
            along = (2 * (index + 0.5) / length - 1) ** 2
            inside = rows**2 + columns**2 + along < 1
            mask[first + index, top : top + size, left : left + size][inside] = number
    return mask


def sources(grid: Grid) -> tuple[Dataset, ...]:
    """Headers of a CT series on `grid`."""
    headers = []
    for index in range(grid.shape[0]):
        header = Dataset()
        header.SOPClassUID, header.Modality = CTImageStorage, "CT"
        header.SOPInstanceUID = derived_uid("benchmark instance", index)
        header.StudyInstanceUID, header.SeriesInstanceUID = derived_uid("benchmark study"), derived_uid("series")
        header.FrameOfReferenceUID = derived_uid("benchmark frame")
        header.PatientID, header.PatientName = "B-1", "Benchmark"
        header.ImageOrientationPatient, header.PixelSpacing = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.8, 0.8]
        header.ImagePositionPatient = [0.0, 0.0, float(index)]
        header.Rows, header.Columns = grid.shape[1:]
        headers.append(header)
    return normalise(headers, grid)


class Given:
    """What both ways start from."""

    def __init__(self, segments: int) -> None:
        self.mask = bodies(segments)
        self.grid = Grid(
            SHAPE, ((0.0, 0.0, 0.8, 0.0), (0.0, 0.8, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
        )
        self.sources = sources(self.grid)
        self.numbers = range(1, segments + 1)
        counts = np.array([np.bincount(plane.ravel(), minlength=segments + 1) for plane in self.mask])
        self.volumes_ml = counts.sum(axis=0) * self.grid.voxel_volume_ml
        self.largest = counts.argmax(axis=0)
        self.frames = int((counts[:, 1:] > 0).sum())


def by_highdicom(given: Given, folder: Path) -> Callable[[], list[Path]]:
    """The same by highdicom's classes as its guide has them."""
    term, category = hd.sr.CodedConcept(*_concept(TERM)), hd.sr.CodedConcept(*_concept(CATEGORY))
    algorithm = hd.AlgorithmIdentificationSequence("benchmark", codes.DCM.ArtificialIntelligence, "1")
    outlines = {n: outline(largest_region(given.mask[given.largest[n]] == n)) for n in given.numbers}
    maker = {"manufacturer": "x", "manufacturer_model_name": "x", "software_versions": "1", "device_serial_number": "1"}
    names = [folder / "seg.dcm", folder / "sr.dcm"]

    def segmentation() -> Any:
        segments = [
            hd.seg.SegmentDescription(
                n, f"Part {n}", category, term, "AUTOMATIC", algorithm, generate_uid(), f"Part {n}"
            )
            for n in given.numbers
        ]
        return hd.seg.Segmentation(
            given.sources, given.mask, "BINARY", segments, generate_uid(), 1, generate_uid(), 1, **maker
        )

    def groups(seg: Any) -> list[Any]:
        made: list[Any] = []
        for n in given.numbers:
            common = {
                "tracking_identifier": hd.sr.TrackingIdentifier(generate_uid(), f"Part {n}"),
                "finding_type": term,
                "finding_sites": [hd.sr.FindingSite(term)],
                "algorithm_id": hd.sr.AlgorithmIdentification("benchmark", "1"),
            }
            volume = hd.sr.Measurement(
                codes.SCT.Volume, float(given.volumes_ml[n]), hd.sr.CodedConcept(*_concept(MILLILITRE))
            )
            source = given.sources[given.largest[n]]
            region = hd.sr.ImageRegion(
                "POLYLINE", outlines[n], hd.sr.SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID)
            )
            segment = hd.sr.ReferencedSegment(
                seg.SOPClassUID, seg.SOPInstanceUID, n,
                source_series=hd.sr.SourceSeriesForSegmentation(source.SeriesInstanceUID),
            )  # fmt: skip
            made.append(
                hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                    referenced_segment=segment, measurements=[volume], **common
                )
            )
            made.append(hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **common))
        return made

    def run() -> list[Path]:
        seg = segmentation()
        seg.save_as(names[0])
        observer = hd.sr.ObserverContext(
            codes.DCM.Device, hd.sr.DeviceObserverIdentifyingAttributes(generate_uid(), "benchmark")
        )
        content = hd.sr.MeasurementReport(
            hd.sr.ObservationContext(observer_device_context=observer), codes.LN.CTUnspecifiedBodyRegion, groups(seg)
        )
        report = hd.sr.Comprehensive3DSR(
            [*given.sources, seg], content, generate_uid(), 2, generate_uid(), 1, "x", is_complete=True
        )
        report.save_as(names[1])
        return names

    return run


def _concept(code: Code) -> tuple[str, str, str]:
    return code.value, code.scheme, code.meaning
