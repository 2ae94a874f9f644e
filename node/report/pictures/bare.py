"""An instance with patient, study, series and equipment, for the outputs that highdicom has no class for."""

from __future__ import annotations

from highdicom.base import SOPClass
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from node.report.attributes import equipment, model_equipment, patient_and_study, series_description
from node.report.evidence import Evidence


def bare_instance(
    evidence: Evidence, kind: str, *, sop_class_uid: str, modality: str, series_number: int, label: str
) -> Dataset:
    """Return a dataset with its file meta information, and with nothing yet of what its class is for."""
    instance = SOPClass(
        series_instance_uid=evidence.uid(kind, "series"),
        series_number=series_number,
        sop_instance_uid=evidence.uid(kind, "instance"),
        sop_class_uid=sop_class_uid,
        instance_number=1,
        modality=modality,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **patient_and_study(evidence),
        series_description=series_description(evidence, label),
        **equipment(evidence),
    )
    instance.copy_patient_and_study_information(evidence.source)
    instance.ContributingEquipmentSequence = [model_equipment(each) for each in evidence.together or (evidence,)]
    return instance
