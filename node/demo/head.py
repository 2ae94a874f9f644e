"""Three made-up studies of one template brain: a plain one, an urgent one, and one that no model suits.

The same call gives the same bytes: UIDs derive from the study's name, dates are fixed, and nothing is random.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from node.demo import template
from node.demo.mr import Acquisition, interleaved, series
from node.demo.template import Image
from node.domain.uid import derived_uid

#: Issuer of Patient ID (0010,0021) of every made-up patient.
ISSUER = "MATINS-DEMO"
#: What the brain extractor measures on the template, mL, and how far off it may be.
REFERENCE_VOLUME_ML = 1974.0
REFERENCE_TOLERANCE = 0.02

#: 8-bit template values → 12-bit pixels.
_GAIN = 16
_TILT_DEGREES = 10.0
_TILTED_SPACING_MM = 1.2
_THICK_SLICE_STEP = 6

_MPRAGE = Acquisition(
    series_description="T1 MPRAGE sag 1 mm",
    protocol_name="T1_MPRAGE",
    scanning_sequence="GR\\IR",
    sequence_variant="SK\\SP\\MP",
    sequence_name="tfl3d1",
    mr_acquisition_type="3D",
    repetition_time_ms=2300,
    echo_time_ms=2.98,
    inversion_time_ms=900,
    flip_angle_degrees=9,
    echo_train_length=1,
    slice_thickness_mm=1,
)
_TILTED_MPRAGE = replace(_MPRAGE, series_description="T1 MPRAGE cor obl", slice_thickness_mm=_TILTED_SPACING_MM)
_LOCALIZER = Acquisition(
    series_description="Localizer",
    protocol_name="Localizer",
    scanning_sequence="GR",
    sequence_variant="SP",
    sequence_name="fl2d1",
    mr_acquisition_type="2D",
    repetition_time_ms=8.6,
    echo_time_ms=4,
    flip_angle_degrees=20,
    echo_train_length=1,
    slice_thickness_mm=7,
)
_T2_THICK = Acquisition(
    series_description="T2 TSE tra 5 mm",
    protocol_name="T2_TSE",
    scanning_sequence="SE",
    sequence_variant="SK\\SP",
    sequence_name="tse2d1_15",
    mr_acquisition_type="2D",
    repetition_time_ms=5000,
    echo_time_ms=95,
    flip_angle_degrees=150,
    echo_train_length=15,
    slice_thickness_mm=5,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStudy:
    """One made-up study, ready to be sent."""

    name: str
    #: What a person should see in it, in a few words.
    title: str
    study_instance_uid: str
    #: The series that the brain extractor should read; `None` where no series suits it.
    expected_series_uid: str | None
    #: In the order of sending.
    instances: tuple[Dataset, ...]


def studies() -> tuple[DemoStudy, DemoStudy, DemoStudy]:
    """Return the three studies: routine, urgent, and without a series that suits.

    Raises:
        Misconfigured: the package with the template is absent or broken.
    """
    brain = template.t1()
    return routine(brain), urgent(brain), unsuitable(brain)


def routine(brain: Image) -> DemoStudy:
    """Return the plain study: the template's own voxels as 197 sagittal slices of 1 mm."""
    header = _header("routine", "Demo^Template One", "DEMO-0001", birth_date="19710402", sex="F", age="055Y")
    header.RequestedProcedurePriority = "ROUTINE"
    header.StudyDescription = "MR brain, follow-up"
    instances = series(header, 1, _MPRAGE, [_pixels(template.sagittal(brain))])
    return _study("routine", "routine order, sagittal T1", instances, read=instances[0])


def urgent(brain: Image) -> DemoStudy:
    """Return the urgent study: a localizer, then coronal slices of 1.2 mm tilted by 10° and sent interleaved.

    Requested Procedure Priority (0040,1003) belongs to the Modality Worklist (PS3.3 §C.4.11), not to any image IOD, and
    the Request Attributes Sequence has no place for it; modalities that pass it on write it at the top level, which
    makes a standard extended SOP Class (PS3.2), and so does this.
    """
    header = _header("urgent", "Demo^Template Two", "DEMO-0002", birth_date="19450911", sex="M", age="081Y")
    header.RequestedProcedurePriority = "STAT"
    header.StudyDescription = "MR brain, emergency"
    header.AdmittingDiagnosesDescription = "Suspected intracranial haemorrhage"
    header.AdditionalPatientHistory = "Thunderclap headache two hours ago, then vomiting; takes warfarin"
    header.MedicalAlerts = "ANTICOAGULATION"
    header.CurrentPatientLocation = "Emergency department"
    request = Dataset()
    request.RequestedProcedureID = header.StudyID
    request.ScheduledProcedureStepID = header.StudyID
    request.ReasonForTheRequestedProcedure = "Sudden severe headache, right hemiparesis"
    header.RequestAttributesSequence = [request]
    localizer = series(header, 1, _LOCALIZER, _three_planes(brain))
    tilted = template.tilted_coronal(brain, _TILT_DEGREES, _TILTED_SPACING_MM)
    oblique = series(header, 2, _TILTED_MPRAGE, [_pixels(tilted)])
    instances = [*localizer, *interleaved(oblique)]
    return _study("urgent", "STAT order with history, oblique T1 and a localizer", instances, read=oblique[0])


def unsuitable(brain: Image) -> DemoStudy:
    """Return the study without a T1 volume: a localizer in three planes and thick T2-like slices."""
    header = _header("unsuitable", "Demo^Template Three", "DEMO-0003", birth_date="19880623", sex="F", age="038Y")
    header.RequestedProcedurePriority = "ROUTINE"
    header.StudyDescription = "MR brain, limited"
    localizer = series(header, 1, _LOCALIZER, _three_planes(brain))
    thick = series(header, 2, _T2_THICK, [_pixels(_t2_like(brain))])
    return _study("unsuitable", "localizer and thick T2 only", [*localizer, *thick], read=None)


def _study(name: str, title: str, instances: list[Dataset], read: Dataset | None) -> DemoStudy:
    return DemoStudy(
        name=name,
        title=title,
        study_instance_uid=str(instances[0].StudyInstanceUID),
        expected_series_uid=None if read is None else str(read.SeriesInstanceUID),
        instances=tuple(instances),
    )


def _header(name: str, patient_name: str, patient_id: str, *, birth_date: str, sex: str, age: str) -> Dataset:
    """Patient, study and order (PS3.3 §C.7.1.1, §C.7.2) of one study that never took place."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.PatientName = patient_name
    header.PatientID = patient_id
    header.IssuerOfPatientID = ISSUER
    header.PatientBirthDate = birth_date
    header.PatientSex = sex
    header.PatientAge = age
    header.QualityControlSubject = "YES"
    header.PatientComments = "Made up for the Matins demo; no such person"
    header.StudyInstanceUID = derived_uid("matins-demo", name)
    header.StudyDate = "20261121"
    header.StudyTime = "021400"
    header.StudyID = patient_id[-4:]
    header.AccessionNumber = f"DEMO{patient_id[-4:]}"
    header.ReferringPhysicianName = ""
    return header


def _pixels(image: Image) -> Image:
    """Template values 0–255 as pixels 0–4080, uint16."""
    return Image(np.rint(image.voxels.astype(np.float32) * _GAIN).astype(np.uint16), image.affine)


def _three_planes(brain: Image) -> list[Image]:
    """The middle sagittal, coronal and axial slice."""
    pixels = _pixels(brain)
    images = (template.sagittal(pixels), template.coronal(pixels), template.axial(pixels))
    return [_only(image, [image.voxels.shape[0] // 2]) for image in images]


def _t2_like(brain: Image) -> Image:
    """Every sixth axial slice with contrast turned round inside the brain, so that fluid is bright as in T2."""
    image = template.axial(brain)
    count = image.voxels.shape[0] // _THICK_SLICE_STEP
    thick = _only(image, [index * _THICK_SLICE_STEP for index in range(count)])
    values: NDArray[np.int16] = thick.voxels.astype(np.int16)
    return Image(np.where(values > 0, 255 - values, 0), thick.affine)


def _only(image: Image, slices: list[int]) -> Image:
    """The given slices, evenly spaced, as an image of their own."""
    affine = image.affine.copy()
    affine[:3, 3] += slices[0] * image.affine[:3, 0]
    if len(slices) > 1:
        affine[:3, 0] *= slices[1] - slices[0]
    return Image(image.voxels[slices], affine)
