"""The images that a report's coordinates are in, as its image library (PS3.16 TID 1600, TID 1601).

highdicom's own asks each image for what its modality should have, and stops at one that lacks it.
"""

from __future__ import annotations

from collections.abc import Iterable

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentSequence,
    ImageContentItem,
    MeasurementReport,
    NumContentItem,
    RelationshipTypeValues,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from node.domain.finding import Code
from node.report.coding import coded

#: Names the image's part in the report; PS3.16 TID 1601 leaves it without a name, at which viewers stop.
_SOURCE = Code("260753009", "SCT", "Source")
_PIXELS = Code("{pixels}", "UCUM", "Pixels")
#: Modality (0008,0060) → its term (PS3.16 CID 29).
_MODALITIES = {term.value: term for term in (getattr(codes.cid29, name) for name in codes.cid29.dir())}


def add_image_library(report: MeasurementReport, images: Iterable[Dataset]) -> None:
    """Put the images, each once, before the measurements of a report (PS3.16 TID 1500), in place."""
    each_once = {str(image.SOPInstanceUID): image for image in images}
    group = ContainerContentItem(name=codes.DCM.ImageLibraryGroup, relationship_type=RelationshipTypeValues.CONTAINS)
    group.ContentSequence = ContentSequence([_entry(image) for image in each_once.values()])
    library = ContainerContentItem(name=codes.DCM.ImageLibrary, relationship_type=RelationshipTypeValues.CONTAINS)
    library.ContentSequence = ContentSequence([group])
    root = report[0]
    *context, measurements = root.ContentSequence
    root.ContentSequence = ContentSequence([*context, library, measurements])


def _entry(image: Dataset) -> ImageContentItem:
    """One image with what every image has (PS3.16 TID 1602); nothing more where its modality is no known one."""
    entry = ImageContentItem(
        name=coded(_SOURCE),
        referenced_sop_class_uid=image.SOPClassUID,
        referenced_sop_instance_uid=image.SOPInstanceUID,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    modality = _MODALITIES.get(str(image.get("Modality") or ""))
    if modality is not None:
        context = RelationshipTypeValues.HAS_ACQ_CONTEXT
        sizes = ((codes.DCM.PixelDataRows, image.Rows), (codes.DCM.PixelDataColumns, image.Columns))
        entry.ContentSequence = ContentSequence(
            [
                CodeContentItem(codes.DCM.Modality, modality, relationship_type=context),
                *(NumContentItem(name, int(size), coded(_PIXELS), relationship_type=context) for name, size in sizes),
            ]
        )
    return entry
