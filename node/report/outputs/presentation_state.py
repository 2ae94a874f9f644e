"""A Grayscale Softcopy Presentation State: outlines of the segments over the source's own images (PS3.3 §A.33.1).

Each segment is a layer in its colour. Window, rescaling and polarity are the source's: a presentation state that is
silent on them would have the images shown without, and MONOCHROME1 inverted (PS3.4 §N.2.1.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from highdicom import ModalityLUTTransformation, PresentationLUTTransformation
from highdicom.color import CIELabColor
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    SoftcopyVOILUTTransformation,
)
from numpy.typing import NDArray
from pydicom import Dataset

from node.domain.finding import Segment
from node.report.attributes import equipment, model_equipment, series_description, stamp
from node.report.coding import fitted
from node.report.contour import rings
from node.report.evidence import Evidence, SourceSlice
from node.report.pictures.body_part import state_body_part
from node.report.pictures.pixels import Shades, is_inverse, shades, stretch
from node.report.pictures.references import image_references

KIND = "presentation_state"
NEEDS: tuple[str, ...] = ()
SHOWN_AS = "PR"
SCOPE = "model"
#: None of its own: the site says what comes next.
FALLBACKS: tuple[str, ...] = ()
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1006

#: Outlines in one object; of a mask with more, those of the largest areas.
MOST_OUTLINES = 2000
#: Regions of a segment on one slice that are outlined, the largest first.
_MOST_REGIONS = 16
#: An aspect ratio is written in whole numbers, and this many are the width.
_RATIO_STEPS = 1000


def unfit(evidence: Evidence) -> str:
    """Outlines are those of segments, over grey images."""
    if evidence.mask is None:
        return "the model segments nothing"
    if evidence.source.get("ModalityLUTSequence"):
        return "the images have a table for a Modality LUT"
    return "" if int(evidence.source.get("SamplesPerPixel", 1)) == 1 else "the images are in colour"


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:  # noqa: ARG001 - refers to no other output
    """Return the presentation state on the slices that hold a segment."""
    drawn = outlines(evidence)
    slices = evidence.slices
    indices = sorted({index for index, _ in drawn})
    found = dict(zip(indices, shades([slices[index] for index in indices]), strict=True))
    # One object has one Modality LUT: what is rescaled otherwise than the slice with the largest area is left out.
    main = found[next(iter(drawn))[0]]
    shown = [index for index in indices if found[index].rescale == main.rescale]
    state = _state(evidence, shown, drawn, main)
    _show_as_the_source_does(state, {index: found[index] for index in shown}, slices)
    _keep_the_shape(state.DisplayedAreaSelectionSequence[0], evidence)
    (series,) = state.ReferencedSeriesSequence
    series.ReferencedImageSequence = image_references(slices[index] for index in shown)
    state_body_part(state, evidence.source)
    stamp(state, evidence, KIND)
    state.PresentationCreationDate, state.PresentationCreationTime = state.ContentDate, state.ContentTime
    return state


def outlines(evidence: Evidence) -> dict[tuple[int, int], list[NDArray[np.float32]]]:
    """(slice index, segment number) → outlines; the largest areas first, and no more than `MOST_OUTLINES`."""
    mask = evidence.labels
    counts = evidence.counts
    numbers = [segment.number for segment in evidence.card.segments]
    areas = [(int(counts[index, number]), index, number) for index in range(len(mask)) for number in numbers]
    found: dict[tuple[int, int], list[NDArray[np.float32]]] = {}
    left = MOST_OUTLINES
    for area, index, number in sorted(areas, key=lambda each: -each[0]):
        if area == 0 or left == 0:
            break
        found[index, number] = rings(mask[index] == number, _MOST_REGIONS)[:left]
        left -= len(found[index, number])
    return found


def _state(
    evidence: Evidence, shown: Sequence[int], drawn: Mapping[tuple[int, int], list[NDArray[np.float32]]], main: Shades
) -> Dataset:
    slices = evidence.slices
    numbers = {number for index, number in drawn if index in shown}
    layers = {each.number: _layer(each) for each in evidence.card.segments if each.number in numbers}
    notes = []
    for index, number in sorted(key for key in drawn if key[0] in shown):
        name, uid = evidence.tracking_identifier(number), evidence.tracking_uid(number)
        lines = [
            GraphicObject("POLYLINE", ring, "PIXEL", tracking_id=name, tracking_uid=uid)
            for ring in drawn[index, number]
        ]
        note = GraphicAnnotation([_referable(evidence, slices[index])], layers[number], graphic_objects=lines)
        note["ReferencedImageSequence"].value = image_references([slices[index]])  # with its frame
        notes.append(note)
    images = {str(slices[index].header.SOPInstanceUID): _referable(evidence, slices[index]) for index in shown}
    slope, intercept, kind = main.rescale
    state: Dataset = GrayscaleSoftcopyPresentationState(
        referenced_images=list(images.values()),
        series_instance_uid=evidence.uid(KIND, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=evidence.uid(KIND, "instance"),
        instance_number=1,
        **equipment(evidence),
        content_label="AI_OUTLINES",
        content_description=fitted(evidence.card.purpose) or None,
        content_creator_name="",
        graphic_annotations=notes,
        graphic_layers=list(layers.values()),
        modality_lut_transformation=ModalityLUTTransformation(
            rescale_slope=slope, rescale_intercept=intercept, rescale_type=kind
        ),
        # Of no image; taken out again below, where the source's own come in.
        voi_lut_transformations=[SoftcopyVOILUTTransformation(window_center=0, window_width=1)],
        presentation_lut_transformation=PresentationLUTTransformation(
            presentation_lut_shape="INVERSE" if is_inverse(evidence.source) else "IDENTITY"
        ),
        contributing_equipment=[model_equipment(evidence)],
        series_description=series_description(evidence, "PR"),
    )
    return state


def _layer(segment: Segment) -> GraphicLayer:
    return GraphicLayer(
        f"SEGMENT_{segment.number}",
        segment.number,
        description=fitted(segment.label),
        display_color=CIELabColor.from_rgb(*segment.colour),
    )


def _referable(evidence: Evidence, source: SourceSlice) -> Dataset:
    """The image of a slice as highdicom wants to know it: whose it is, and that it is grey."""
    image = Dataset()
    image.update(evidence.source)
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Rows", "Columns"):
        image[keyword] = source.header[keyword]
    image.SamplesPerPixel = 1
    return image


def _keep_the_shape(area: Dataset, evidence: Evidence) -> None:
    """Say how high and wide pixels are (PS3.3 §C.10.4); highdicom takes all for square."""
    given = evidence.grid.spacing_mm[1:] if evidence.grid else evidence.source.get("PixelSpacing")
    if given:
        area.PresentationPixelSpacing = [round(float(each), 6) for each in given]
        del area.PresentationPixelAspectRatio
        return
    area.PresentationPixelAspectRatio = [round(stretch(evidence.source) * _RATIO_STEPS), _RATIO_STEPS]


def _show_as_the_source_does(state: Dataset, found: Mapping[int, Shades], slices: Sequence[SourceSlice]) -> None:
    """One item a window, with the images that it is for (PS3.3 §C.11.8)."""
    by_window: dict[str, list[int]] = {}
    for index, each in found.items():
        if each.window or each.tables:
            by_window.setdefault(f"{each.window}{[table.to_json() for table in each.tables]}", []).append(index)
    items = []
    for indices in by_window.values():
        item, shade = Dataset(), found[indices[0]]
        item.ReferencedImageSequence = image_references(slices[index] for index in indices)
        if shade.window:
            item.WindowCenter, item.WindowWidth = (round(each, 6) for each in shade.window[:2])
            item.VOILUTFunction = shade.window[2]
        else:
            item.VOILUTSequence = list(shade.tables)
        items.append(item)
    state.SoftcopyVOILUTSequence = items
    if not items:
        del state.SoftcopyVOILUTSequence
