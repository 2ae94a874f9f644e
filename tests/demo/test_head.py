from __future__ import annotations

import subprocess
import sys
import sysconfig
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from node.demo import head, template
from node.demo.head import DemoStudy
from node.demo.template import Image
from node.domain.geometry import Grid, stack
from node.domain.study import Plane
from node.domain.uid import is_valid_uid
from node.errors import Unsuitable

SCRIPTS = Path(sysconfig.get_path("scripts"))
NAMES = ("routine", "urgent", "unsuitable")


def series_of(study: DemoStudy, description: str) -> list[Dataset]:
    return [instance for instance in study.instances if instance.SeriesDescription.startswith(description)]


def grid_of(instances: list[Dataset]) -> tuple[list[Dataset], Grid]:
    planes = [
        Plane(
            position=tuple(map(float, instance.ImagePositionPatient)),
            orientation=tuple(map(float, instance.ImageOrientationPatient)),
            spacing=tuple(map(float, instance.PixelSpacing)),
        )
        for instance in instances
    ]
    order, grid = stack(planes, instances[0].Rows, instances[0].Columns)
    return [instances[index] for index in order], grid


def content(instance: Dataset) -> bytes:
    stream = BytesIO()
    instance.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_one_instance_of_each_series_satisfies_dciodvfy_and_all_agree_with_each_other(
    studies: dict[str, DemoStudy], name: str, tmp_path: Path
) -> None:
    seen: set[str] = set()
    for number, instance in enumerate(studies[name].instances):
        path = tmp_path / f"{number:03}.dcm"
        instance.save_as(path, enforce_file_format=True)
        if instance.SeriesInstanceUID not in seen:
            seen.add(instance.SeriesInstanceUID)
            verdict = subprocess.run([SCRIPTS / "dciodvfy", "-new", path], capture_output=True, text=True)
            assert "Error" not in verdict.stderr + verdict.stdout
            assert verdict.returncode == 0
    entities = subprocess.run([SCRIPTS / "dcentvfy", *tmp_path.iterdir()], capture_output=True, text=True)
    assert "Error" not in entities.stderr + entities.stdout


def test_every_uid_is_valid_and_every_instance_has_its_own(studies: dict[str, DemoStudy]) -> None:
    instances = [instance for study in studies.values() for instance in study.instances]
    uids = [str(instance.SOPInstanceUID) for instance in instances]
    assert len(set(uids)) == len(uids) == 428
    assert all(map(is_valid_uid, uids))
    assert all(instance.file_meta.MediaStorageSOPInstanceUID == instance.SOPInstanceUID for instance in instances)
    assert len({study.study_instance_uid for study in studies.values()}) == 3


def test_the_same_studies_come_out_byte_for_byte_each_time(studies: dict[str, DemoStudy], brain: Image) -> None:
    again = head.urgent(brain)
    assert [content(one) for one in again.instances] == [content(one) for one in studies["urgent"].instances]


def test_the_routine_study_holds_the_templates_own_voxels_in_their_places(
    studies: dict[str, DemoStudy], brain: Image
) -> None:
    ordered, grid = grid_of(list(studies["routine"].instances))
    voxels = np.stack([np.frombuffer(one.PixelData, "<u2").reshape(one.Rows, one.Columns) for one in ordered])
    assert grid.spacing_mm == pytest.approx((1.0, 1.0, 1.0))
    to_template = np.linalg.inv(brain.affine) @ grid.matrix
    index = np.argwhere(voxels > 0)[::997]
    there = np.rint(index @ to_template[:3, :3].T + to_template[:3, 3]).astype(int)
    np.testing.assert_array_equal(voxels[tuple(index.T)], brain.voxels[tuple(there.T)].astype(int) * 16)
    assert np.count_nonzero(voxels) == np.count_nonzero(brain.voxels)


def test_the_urgent_study_is_oblique_anisotropic_and_sent_out_of_order(studies: dict[str, DemoStudy]) -> None:
    instances = series_of(studies["urgent"], "T1")
    ordered, grid = grid_of(instances)
    assert grid.spacing_mm == pytest.approx((1.2, 1.0, 1.0), abs=1e-6)
    normal = grid.matrix[:3, 0] / 1.2
    assert np.degrees(np.arccos(abs(normal[1]))) == pytest.approx(10.0, abs=1e-4)
    numbers = [int(instance.InstanceNumber) for instance in instances]
    assert numbers != sorted(numbers)
    assert abs(np.diff([int(instance.InstanceNumber) for instance in ordered])).max() == 1


def test_the_urgent_study_carries_its_order_and_history(studies: dict[str, DemoStudy]) -> None:
    for instance in studies["urgent"].instances:
        assert instance.RequestedProcedurePriority == "STAT"
        assert "haemorrhage" in instance.AdmittingDiagnosesDescription
        assert "Thunderclap headache" in instance.AdditionalPatientHistory
        assert "hemiparesis" in instance.RequestAttributesSequence[0].ReasonForTheRequestedProcedure
    assert studies["routine"].instances[0].RequestedProcedurePriority == "ROUTINE"


def test_no_series_of_the_third_study_is_a_t1_volume(studies: dict[str, DemoStudy]) -> None:
    study = studies["unsuitable"]
    assert study.expected_series_uid is None
    with pytest.raises(Unsuitable, match="mixed orientations"):
        grid_of(series_of(study, "Localizer"))
    thick = series_of(study, "T2")
    _, grid = grid_of(thick)
    assert grid.spacing_mm == pytest.approx((6.0, 1.0, 1.0))
    assert thick[0].EchoTime == 95
    assert "InversionTime" not in thick[0]


def test_the_series_to_be_read_is_a_t1_volume_of_its_study(studies: dict[str, DemoStudy]) -> None:
    for name in ("routine", "urgent"):
        assert {one.SeriesInstanceUID for one in series_of(studies[name], "T1")} == {studies[name].expected_series_uid}


def test_nobody_could_take_the_patients_for_real_ones(studies: dict[str, DemoStudy]) -> None:
    for study in studies.values():
        for instance in study.instances:
            assert str(instance.PatientName).startswith("Demo^")
            assert instance.PatientID.startswith("DEMO-")
            assert instance.IssuerOfPatientID == "MATINS-DEMO"
            assert instance.QualityControlSubject == "YES"
            assert "no patient" in instance.ImageComments
            birth, study_date = instance.PatientBirthDate, instance.StudyDate
            years = int(study_date[:4]) - int(birth[:4]) - (study_date[4:] < birth[4:])
            assert instance.PatientAge == f"{years:03}Y"


def test_nilearn_itself_is_never_imported() -> None:
    program = "import sys; from node.demo import head; head.studies(); sys.exit('nilearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(template.__file__).parents[2]).returncode == 0
