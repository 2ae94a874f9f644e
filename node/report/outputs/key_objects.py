"""A Key Object Selection "Of Interest": the slices that matter (PS3.3 §A.35.4, PS3.16 TID 2010)."""

from __future__ import annotations

from collections.abc import Mapping

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom import Dataset
from pydicom.sr.codedict import codes

from node.domain.work import OutcomeState
from node.report.attributes import (
    equipment,
    model_equipment,
    serial_number,
    series_description,
    stamp,
    vendor,
)
from node.report.coding import fitted
from node.report.evidence import Evidence
from node.report.pictures.references import image_references, speaking
from node.report.pictures.summary import key_slices, notice

KIND = "key_objects"
NEEDS: tuple[str, ...] = ()
SHOWN_AS = "KO"
SCOPE = "model"
FALLBACKS: tuple[str, ...] = ("secondary_capture", "encapsulated_pdf")
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1007

#: More slices than these are no selection any more.
_MOST_SLICES = 24


def unfit(evidence: Evidence) -> str:
    """A selection is one of slices that stand out."""
    if evidence.state is not OutcomeState.RESULT:
        return "the model did not read"
    return "" if key_slices(evidence, _MOST_SLICES) else "no slice stands out"


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:  # noqa: ARG001 - refers to no other output
    """Return the selection: the largest slice of each segment, or the image itself."""
    selected = [evidence.slices[index] for index in key_slices(evidence, _MOST_SLICES)]
    references = image_references(selected)
    images = list({str(each.header.SOPInstanceUID): each.header for each in selected}.values())
    selection = KeyObjectSelectionDocument(
        evidence=[speaking(evidence.source, images[0]), *images[1:]],
        content=KeyObjectSelection(
            document_title=codes.DCM.OfInterest,
            referenced_objects=images,
            observer_device_context=ObserverContext(
                observer_type=codes.DCM.Device,
                observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                    uid=evidence.device_uid,
                    name=fitted(f"{evidence.card.name} {evidence.card.version}"),
                    manufacturer_name=vendor(evidence),
                    model_name=fitted(evidence.card.name),
                    serial_number=serial_number(evidence),
                ),
            ),
            description=f"{notice(evidence)}. {evidence.card.title}",
        ),
        series_instance_uid=evidence.uid(KIND, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=evidence.uid(KIND, "instance"),
        instance_number=1,
        **equipment(evidence),
        contributing_equipment=[model_equipment(evidence)],
        series_description=series_description(evidence, "KO"),
    )
    selection.copy_patient_and_study_information(evidence.source)
    _reference(selection, {str(item.ReferencedSOPInstanceUID): item for item in references})
    stamp(selection, evidence, KIND)
    return selection


def _reference(selection: Dataset, references: Mapping[str, Dataset]) -> None:
    """Name the frames too, and no purpose: TID 2010 forbids a concept name on what is selected."""
    for item in selection.ContentSequence:
        if item.ValueType == "IMAGE":
            del item.ConceptNameCodeSequence
            (named,) = item.ReferencedSOPSequence
            item.ReferencedSOPSequence = [references[str(named.ReferencedSOPInstanceUID)]]
