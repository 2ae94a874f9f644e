"""A Comprehensive 3D SR with the measurements of each segment (PS3.16 TID 1500, TID 1411).

The tracking UID of a segment owns two groups: a volumetric one that refers to the segment and carries the
numbers, and a planar one (TID 1410) with the segment's outline on its largest slice. Viewers that join groups
by tracking UID then have coordinates to show; OHIF stops at a report whose groups have none.
Findings without a segment are not written here: they belong to another document.
"""

from __future__ import annotations

from collections.abc import Mapping

from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    LanguageOfContentItemAndDescendants,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    ReferencedSegment,
    SourceImageForRegion,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from highdicom.sr import Measurement as MeasurementItem
from pydicom import Dataset
from pydicom.sr.codedict import codes

from node.domain.finding import VOLUME, Code, Finding, Measurement
from node.errors import Failed
from node.report.attributes import (
    equipment,
    model_equipment,
    serial_number,
    series_description,
    stamp,
    vendor,
)
from node.report.coding import coded, fitted
from node.report.contour import largest_region, largest_slice, outline
from node.report.evidence import Evidence

KIND = "measurement_sr"
NEEDS = ("seg",)
SHOWN_AS = "SR"
SCOPE = "model"
FALLBACKS = ("comprehensive_sr", "enhanced_sr", "basic_text_sr", "secondary_capture")
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1001

_PROBABILITY = Code("122157", "DCM", "Probability")
#: The meanings of our codes and the labels of our cards are English (PS3.16 TID 1204, CID 5000).
_LANGUAGE = Code("en", "RFC5646", "English")
_NO_UNITS = Code("1", "UCUM", "no units")
#: Numbers are written with this many significant digits: the fifth of a volume is already noise.
_DIGITS = 7


def unfit(evidence: Evidence) -> str:
    """Measurements are those of segments."""
    if evidence.mask is None:
        return "the model segments nothing"
    return "" if any(each.segment_number is not None for each in evidence.findings) else "no finding has a segment"


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:
    """Return the report: preliminary, unverified, and complete for the segments it speaks of.

    Raises:
        Failed: no finding has a segment.
    """
    segmentation = built["seg"]
    findings = [finding for finding in evidence.findings if finding.segment_number is not None]
    if not findings:
        raise Failed("no finding has a segment to report on")
    groups: list[VolumetricROIMeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations]
    groups = []
    outlined: dict[int, Dataset] = {}
    for finding in findings:
        number = finding.segment_number
        assert number is not None
        groups.append(_volumetric(evidence, finding, number, segmentation))
        if number not in outlined:
            outlined[number] = evidence.sources[largest_slice(evidence.labels, number)]
            groups.append(_planar(evidence, finding, number))
    images = list({str(image.SOPInstanceUID): image for image in outlined.values()}.values())
    report = Comprehensive3DSR(
        evidence=[evidence.source, *evidence.sources[1:], segmentation],
        content=_content(evidence, groups, images),
        series_instance_uid=evidence.uid(KIND, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=evidence.uid(KIND, "instance"),
        instance_number=1,
        **equipment(evidence),
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=series_description(evidence, "SR"),
        contributing_equipment=[model_equipment(evidence)],
    )
    stamp(report, evidence, KIND)
    return report


def _content(
    evidence: Evidence,
    groups: list[VolumetricROIMeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations],
    images: list[Dataset],
) -> MeasurementReport:
    card = evidence.card
    observer = DeviceObserverIdentifyingAttributes(
        uid=evidence.device_uid,
        name=fitted(f"{card.name} {card.version}"),
        manufacturer_name=vendor(evidence),
        model_name=fitted(card.name),
        serial_number=serial_number(evidence),
    )
    return MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(
                observer_type=codes.DCM.Device, observer_identifying_attributes=observer
            )
        ),
        procedure_reported=coded(card.procedure),
        imaging_measurements=groups,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(coded(_LANGUAGE)),
        referenced_images=images,
    )


def _volumetric(
    evidence: Evidence, finding: Finding, number: int, segmentation: Dataset
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    measurements = [_measurement(measurement) for measurement in finding.measurements]
    if finding.probability is not None:
        probability = Measurement(quantity=_PROBABILITY, value=finding.probability, unit=_NO_UNITS)
        measurements.append(_measurement(probability))
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(evidence, number),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=SourceSeriesForSegmentation(evidence.source_series_instance_uid),
        ),
        finding_type=coded(finding.code),
        finding_sites=_sites(evidence, number),
        algorithm_id=_algorithm(evidence),
        measurements=measurements,
    )


def _planar(evidence: Evidence, finding: Finding, number: int) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    index = largest_slice(evidence.labels, number)
    region = largest_region(evidence.labels[index] == number)
    image = evidence.sources[index]
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(evidence, number),
        referenced_region=ImageRegion(
            graphic_type=GraphicTypeValues.POLYLINE,
            graphic_data=outline(region),
            source_image=SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID),
        ),
        finding_type=coded(finding.code),
        finding_sites=_sites(evidence, number),
        algorithm_id=_algorithm(evidence),
    )


def _measurement(measurement: Measurement) -> MeasurementItem:
    is_volume = measurement.quantity == VOLUME
    return MeasurementItem(
        name=coded(measurement.quantity),
        value=float(f"{measurement.value:.{_DIGITS}g}"),
        unit=coded(measurement.unit),
        # PS3.16 CID 7474: the volume is that of the voxels, in source geometry.
        method=codes.DCM.SumOfSegmentedVoxelMethodForVolume if is_volume else None,
    )


def _tracking(evidence: Evidence, number: int) -> TrackingIdentifier:
    return TrackingIdentifier(uid=evidence.tracking_uid(number), identifier=evidence.tracking_identifier(number))


def _sites(evidence: Evidence, number: int) -> list[FindingSite]:
    segment = next(segment for segment in evidence.card.segments if segment.number == number)
    return [FindingSite(coded(segment.site or segment.type))]


def _algorithm(evidence: Evidence) -> AlgorithmIdentification:
    card = evidence.card
    return AlgorithmIdentification(
        name=card.name,
        version=card.version,
        parameters=[f"model={evidence.model_digest}", f"card={evidence.card_digest}"],
        family=codes.DCM.ArtificialIntelligence,
        manufacturer=vendor(evidence),
    )
