"""What all structured reports share: the document around a content tree (PS3.3 §C.17)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    ComprehensiveSR,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    EnhancedSR,
    LanguageOfContentItemAndDescendants,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
)
from highdicom.sr import CodeContentItem as CodeItem
from pydicom import DataElement, Dataset
from pydicom.sequence import Sequence as Items
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as Term
from pydicom.uid import BasicTextSRStorage

from node.domain.finding import Code
from node.report.attributes import equipment, model_equipment, serial_number, series_description, stamp, vendor
from node.report.coding import coded, fitted
from node.report.evidence import Evidence
from node.report.segments.explicit_vr import put, reread
from node.report.segments.instance_references import evidence_of_study

#: The meanings of our codes and the labels of our cards are English (PS3.16 TID 1204, CID 5000).
_LANGUAGE = Code("en", "RFC5646", "English")
#: Kinds that tell the same in another SOP Class: any of them replaces any.
_FAMILY = ("measurement_sr", "comprehensive_sr", "enhanced_sr", "basic_text_sr")
#: Longest Algorithm Name and Parameters that are still read: text items have no limit of their own.
_TEXT = 1024

#: Title of reports for people: OHIF looks for coordinates in an (126000, DCM), and writes any other out as text.
SUMMARY = codes.DCM.SummaryOfAnalyses


class BasicTextSR(EnhancedSR):
    """A Basic Text SR (PS3.3 §A.35.1), of which highdicom has none; the same modules as an Enhanced SR."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.SOPClassUID = BasicTextSRStorage
        self.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage


SopClass = type[Comprehensive3DSR] | type[ComprehensiveSR] | type[EnhancedSR]


def document(
    evidence: Evidence,
    kind: str,
    content: Dataset | Items,
    *,
    written_as: SopClass,
    series_number: int,
    label: str,
    rests_on: Sequence[Dataset] = (),
    other_evidence: Sequence[Dataset] = (),
    is_complete: bool = True,
) -> Dataset:
    """The content tree as a report: preliminary, unverified, by a device; `rests_on` are results it refers to.

    `other_evidence`: items of Pertinent Other Evidence Sequence, of what it refers to in other studies.

    highdicom is given a bare tree and one image: it would copy and search the whole one, and check that it refers to
    nothing but the evidence, which is all of the sources here.
    """
    root: Dataset = content[0] if isinstance(content, Items) else content
    report: Dataset = written_as(
        evidence=[evidence.source],
        content=_bare(root),
        series_instance_uid=evidence.uid(kind, "series"),
        series_number=series_number,
        sop_instance_uid=evidence.uid(kind, "instance"),
        instance_number=1,
        **equipment(evidence),
        is_complete=is_complete,
        is_final=False,
        is_verified=False,
        series_description=series_description(evidence, label),
        contributing_equipment=[model_equipment(evidence)],
    )
    replaced = _predecessors(evidence, kind)
    if replaced:
        report.PredecessorDocumentsSequence = replaced
    stamp(report, evidence, kind)
    report.ContentSequence = root.ContentSequence
    written = reread(report)
    rested_on = evidence_of_study(evidence.study_instance_uid, [*evidence.sources, *rests_on])
    put(written, "CurrentRequestedProcedureEvidenceSequence", rested_on)
    if other_evidence:
        written.PertinentOtherEvidenceSequence = list(other_evidence)
    return written


def _bare(root: Dataset) -> Dataset:
    """The root of a content tree with the first of its items alone, which refers to nothing."""
    bare = Dataset()
    for element in root:
        bare.add(
            element if element.keyword != "ContentSequence" else DataElement(element.tag, "SQ", [element.value[0]])
        )
    return bare


def observation_context(evidence: Evidence) -> ObservationContext:
    """The observer: this model, a device (PS3.16 TID 1001, TID 1004)."""
    card = evidence.card
    observer = DeviceObserverIdentifyingAttributes(
        uid=evidence.device_uid,
        name=fitted(f"{card.name} {card.version}"),
        manufacturer_name=vendor(evidence),
        model_name=fitted(card.name),
        serial_number=serial_number(evidence),
    )
    context = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=observer)
    return ObservationContext(observer_device_context=context)


def language() -> LanguageOfContentItemAndDescendants:
    """English (PS3.16 TID 1204)."""
    return LanguageOfContentItemAndDescendants(coded(_LANGUAGE))


def algorithm(evidence: Evidence, *parameters: str) -> AlgorithmIdentification:
    """Which algorithm, with what, found this (PS3.16 TID 4019).

    `parameters` stand beside the digests as "name=value", and so do the notes on how it was computed.
    """
    card = evidence.card
    return AlgorithmIdentification(
        name=card.name,
        version=card.version,
        parameters=[
            f"model={evidence.model_digest}",
            f"card={evidence.card_digest}",
            *(fitted(each, _TEXT) for each in parameters),
            *(fitted(f"note={each}", _TEXT) for each in evidence.notes),
        ],
        family=codes.DCM.ArtificialIntelligence,
        manufacturer=vendor(evidence),
    )


def text(name: Term, value: str) -> TextContentItem:
    """A line that a container contains."""
    return TextContentItem(name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS)


def code(name: Term, value: Term) -> CodeItem:
    """A coded answer that a container contains."""
    return CodeItem(name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS)


def container(name: Term, items: Iterable[ContentItem]) -> ContainerContentItem:
    """A section. Every item in it has a name: viewers that write reports out stop at one without."""
    section = ContainerContentItem(name=name, relationship_type=RelationshipTypeValues.CONTAINS)
    section.ContentSequence = ContentSequence(list(items))
    return section


def report_for_people(evidence: Evidence, items: Sequence[ContentItem]) -> ContainerContentItem:
    """The content tree of a report that says all in words and codes: language, observer, procedure, `items`."""
    root = ContainerContentItem(name=SUMMARY)
    procedure = CodeItem(
        name=codes.DCM.ProcedureReported,
        value=coded(evidence.card.procedure),
        relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
    )
    root.ContentSequence = ContentSequence([*language(), *observation_context(evidence), procedure, *items])
    return root


def algorithm_in_words(evidence: Evidence) -> list[ContentItem]:
    """Which algorithm, for people: name, version, maker, digest."""
    card = evidence.card
    return [
        text(codes.DCM.AlgorithmName, f"{card.title} ({card.name})"),
        text(codes.DCM.AlgorithmVersion, card.version),
        text(codes.DCM.AlgorithmManufacturer, vendor(evidence)),
        text(codes.DCM.AlgorithmParameters, f"model={evidence.model_digest} card={evidence.card_digest}"),
        *(text(codes.DCM.AlgorithmParameters, fitted(f"note={each}", _TEXT)) for each in evidence.notes),
    ]


def _predecessors(evidence: Evidence, kind: str) -> list[Dataset]:
    """Items of Predecessor Documents Sequence (0040,A360): what this very kind replaces, else what told the same."""
    sent = [each for each in evidence.predecessors if each.profile == evidence.profile]
    same = [each for each in sent if each.kind == kind]
    if not same and kind in _FAMILY:
        same = [each for each in sent if each.kind in _FAMILY]
    items = []
    for each in same:
        instance, series, study = Dataset(), Dataset(), Dataset()
        instance.ReferencedSOPClassUID = each.sop_class_uid
        instance.ReferencedSOPInstanceUID = each.sop_instance_uid
        series.SeriesInstanceUID = each.series_instance_uid
        series.ReferencedSOPSequence = [instance]
        study.StudyInstanceUID = evidence.study_instance_uid
        study.ReferencedSeriesSequence = [series]
        items.append(study)
    return items
