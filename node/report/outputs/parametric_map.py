"""A Parametric Map of what the model looked at: float32 from 0 to 1, on the pixels of the source (PS3.3 §A.75)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from highdicom import (
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
    VOILUTTransformation,
)
from highdicom.pm import ParametricMap, RealWorldValueMapping
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from node.domain.finding import Code
from node.errors import Failed
from node.report.attributes import equipment, model_equipment, series_description, stamp
from node.report.coding import coded, fitted
from node.report.evidence import Evidence
from node.report.pictures.body_part import state_body_part
from node.report.pictures.references import speaking

KIND = "parametric_map"
NEEDS: tuple[str, ...] = ()
SHOWN_AS = "PM"
SCOPE = "model"
FALLBACKS: tuple[str, ...] = ("secondary_capture", "encapsulated_pdf")
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1005

#: Bytes of pixels in one object, 64 slices of 512 × 512; of a larger map the slices with most weight are sent.
MOST_BYTES = 64 << 20
#: PS3.16 CID 217.
_SALIENCY = Code("130404", "DCM", "Saliency")
_NO_UNITS = Code("1", "UCUM", "no units")


def unfit(evidence: Evidence) -> str:
    """A map is one of saliency, in space."""
    if evidence.saliency is None:
        return "the model left no saliency"
    return "" if evidence.grid is not None else "the images have no place in space"


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:  # noqa: ARG001 - refers to no other output
    """Return the map, Explicit VR Little Endian.

    Raises:
        Failed: the model left no saliency.
    """
    if evidence.saliency is None:
        raise Failed(f"{evidence.card.name} left no saliency")
    sent = weightiest(evidence.saliency)
    affine = evidence.lattice.matrix
    spacing = evidence.lattice.spacing_mm
    directions = [*(affine[:3, 2] / spacing[2]), *(affine[:3, 1] / spacing[1])]
    slices = evidence.slices
    images = list({str(slices[i].header.SOPInstanceUID): slices[i].header for i in sent}.values())
    images[0] = speaking(evidence.source, images[0])
    chart = ParametricMap(
        source_images=images,
        pixel_array=np.ascontiguousarray(evidence.saliency[sent], np.float32),
        series_instance_uid=evidence.uid(KIND, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=evidence.uid(KIND, "instance"),
        instance_number=1,
        **equipment(evidence),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            RealWorldValueMapping(
                lut_label="SALIENCY",
                lut_explanation="Weight of a voxel in what the model said, 0 none to 1 most",
                unit=coded(_NO_UNITS),
                value_range=(0.0, 1.0),
                quantity_definition=coded(_SALIENCY),
            )
        ],
        # LINEAR of width 1 knows black and white alone (PS3.3 §C.11.2.1.2.1).
        voi_lut_transformations=[
            VOILUTTransformation(window_center=0.5, window_width=1.0, voi_lut_function="LINEAR_EXACT")
        ],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="AI_SALIENCY",
        content_description=fitted(evidence.card.purpose) or None,
        content_creator_name="",
        content_qualification=evidence.card.content_qualification,
        pixel_measures=PixelMeasuresSequence(
            pixel_spacing=(round(spacing[1], 6), round(spacing[2], 6)),
            slice_thickness=float(evidence.source.get("SliceThickness") or round(spacing[0], 6)),
        ),
        plane_orientation=PlaneOrientationSequence("PATIENT", [round(float(each), 10) for each in directions]),
        plane_positions=[
            PlanePositionSequence("PATIENT", [round(float(each), 6) for each in affine[:3, 3] + i * affine[:3, 0]])
            for i in sent
        ],
        contributing_equipment=[model_equipment(evidence)],
        series_description=series_description(evidence, "Map"),
    )
    state_body_part(chart, evidence.source)
    stamp(chart, evidence, KIND)
    return chart


def weightiest(saliency: NDArray[np.float32]) -> list[int]:
    """Indices, in order, of as many slices as one object takes, those with most weight. saliency: see `Evidence`."""
    room = max(1, MOST_BYTES // max(1, saliency[0].size * 4))
    weights = saliency.sum(axis=(1, 2), dtype=np.float64)
    return sorted(np.argsort(-weights, kind="stable")[:room].tolist())
