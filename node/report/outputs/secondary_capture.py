"""A Secondary Capture that any viewer shows: all models of a study on one page, contours burned in (PS3.3 §A.8.1)."""

from __future__ import annotations

from collections.abc import Mapping

from highdicom.sc import SCImage
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from node.domain.work import OutcomeState
from node.report.attributes import equipment, model_equipment, patient_and_study, series_description, stamp
from node.report.evidence import Evidence
from node.report.pictures.body_part import state_body_part
from node.report.pictures.drawing import PANELS, page
from node.report.pictures.references import image_references
from node.report.pictures.summary import key_slices, notice

KIND = "secondary_capture"
NEEDS: tuple[str, ...] = ()
SHOWN_AS = "SC"
SCOPE = "study"
#: None of its own: the site says what comes next.
FALLBACKS: tuple[str, ...] = ()
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1004


def unfit(evidence: Evidence) -> str:
    """A summary is one of results."""
    return "" if evidence.state is OutcomeState.RESULT else "the model did not read"


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:  # noqa: ARG001 - refers to no other output
    """Return the page: 8 bit RGB, Explicit VR Little Endian, not one letter of the source's header in the pixels."""
    capture = _capture(evidence)
    capture.PatientOrientation = ""  # several slices on one page have none in common
    capture.ConversionType = "WSD"
    # The page names models and times, and sources may have a patient burned in.
    capture.BurnedInAnnotation = "YES"
    capture.ImageComments = notice(evidence)
    _refer(capture, evidence)
    state_body_part(capture, evidence.source)
    stamp(capture, evidence, KIND)
    capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture = capture.ContentDate, capture.ContentTime
    return capture


def _capture(evidence: Evidence) -> Dataset:
    capture = SCImage(
        pixel_array=page(evidence),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),  # taken back above: the constructor asks for one
        series_instance_uid=evidence.uid(KIND, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=evidence.uid(KIND, "instance"),
        instance_number=1,
        **equipment(evidence),
        **patient_and_study(evidence),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        contributing_equipment=[model_equipment(each) for each in evidence.together or (evidence,)],
        series_description=series_description(evidence, "Summary"),
    )
    capture.copy_patient_and_study_information(evidence.source)
    return capture


def _refer(capture: Dataset, evidence: Evidence) -> None:
    """Name the images whose slices are shown (PS3.3 §C.12.4, §C.7.6.1)."""
    shown = []
    for each in evidence.together or (evidence,):
        shown += [each.slices[index] for index in key_slices(each, PANELS)]
    if shown:
        capture.SourceImageSequence = image_references(shown, codes.DCM.SourceImageForImageProcessingOperation)
        capture.DerivationDescription = "Slices with contours of segments, and numbers"
