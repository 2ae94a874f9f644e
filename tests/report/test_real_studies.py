"""Real scanners' headers, de-identified by others: what we make of them is conformant too."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.report.building import fitting_kinds
from node.report.composition import compose, encode
from tests.report.synthetic import AVAILABLE, classified, evidence_on, explained, not_performed, of_study
from tests.report.test_outputs import KINDS, errors_of

SERIES = [
    "dicom/brain_tumor_progression_Study1/13_HCropVolume",
    "dicom/brain_tumor_progression_Study1/34909-T1prereg-84610",
    "dicom/brain_tumor_progression_Study1/36459-FLAIRreg-76244",
    "dicom/Lung_Dx-A0002/3.000000-ThoraxRoutine  8.0.0  B40f-10983",
    "dicom/studyforrest_T1w",
]
#: Slices of a series: it is their headers that differ from scanner to scanner.
MOST = 64


@pytest.mark.filterwarnings("ignore:Invalid value for VR")  # our own reading of positions below, not the room's
@pytest.mark.parametrize("folder", SERIES)
def test_dciodvfy_finds_no_error_in_results_on_a_real_series(test_data: Path, folder: str, tmp_path: Path) -> None:
    base = evidence_on(sorted((test_data / folder).glob("*.dcm"))[:MOST])
    made = set()
    for evidence in (explained(base), classified(base), not_performed(base)):
        fitting = fitting_kinds(evidence, KINDS, AVAILABLE)
        for kind, dataset in compose(of_study(evidence), set(fitting) - made, AVAILABLE, {}).items():
            path = tmp_path / f"{kind}.dcm"
            path.write_bytes(encode(dataset))
            assert errors_of(path) == []
            assert (dataset.PatientID, dataset.StudyInstanceUID) == (base.source.PatientID, base.study_instance_uid)
        made |= set(fitting)
    assert made == set(KINDS)
