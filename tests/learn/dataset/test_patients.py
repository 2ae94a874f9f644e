"""A table beside a data set says whose images they are."""

from __future__ import annotations

import pytest

from node.errors import Misconfigured
from node.learn.dataset import open_dataset
from node.learn.dataset.examination import examine
from node.learn.dataset.patients import with_patients_of
from tests.learn import synthetic


def test_cases_of_one_patient_stay_together(tmp_path):
    root = synthetic.nifti_pairs(tmp_path / "set", 12)
    lines = ["image,patient,sex", *(f"case_{n:02},S{n // 2},{'FM'[n // 2 % 2]}" for n in range(12)), "other,S99,F"]
    table = tmp_path / "patients.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    found = examine(root, patients=table)
    found.refuse()
    assert (found.sheet.groups, found.sheet.patients) == (6, 6)
    assert found.groups["images/case_05.nii.gz"] == "images/case_04.nii.gz"
    assert found.sheet.attributes == {"sex": {"F": 6, "M": 6}}
    assert found.problems == tuple(p for p in found.problems if "patient" not in p.fault)


def test_cases_that_it_does_not_name_are_told(tmp_path):
    root = synthetic.nifti_pairs(tmp_path / "set", 3)
    table = tmp_path / "patients.csv"
    table.write_text("image,patient\nimages/case_00.nii.gz,A\ncase_01.nii.gz,A\ncase_02,\n", encoding="utf-8")
    found = with_patients_of(open_dataset(root), table)
    assert [case.group for case in found.cases] == ["A", "A", ""]
    assert found.problems[0].text == "cases that patients.csv names no patient of (1): images/case_02.nii.gz"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image,patient\nelsewhere,A\n", "image: names no image of set"),
        ("image,patient\ncase_00,A\ncase_00,B\n", "line 3: says another thing of case_00"),
        ("image,age\ncase_00,4\n", "no column for the group among image, age"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(text, told, tmp_path):
    root = synthetic.nifti_pairs(tmp_path / "set", 2)
    (tmp_path / "patients.csv").write_text(text, encoding="utf-8")
    with pytest.raises(Misconfigured, match=told):
        with_patients_of(open_dataset(root), tmp_path / "patients.csv")
