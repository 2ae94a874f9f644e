from __future__ import annotations

import pytest
from pydicom.sr._concepts_dict import concepts

from node.catalogue import codes

#: SNOMED CT as pydicom has it: value → every meaning.
SNOMED: dict[str, set[str]] = {}
for each in concepts["SCT"].values():
    for value, (meaning, _) in each.items():
        SNOMED.setdefault(value, set()).add(meaning)


def test_every_code_of_the_table_is_in_the_standard_with_its_meaning() -> None:
    wrong = [code for code in codes.known() if code.meaning not in SNOMED.get(code.value, ())]
    assert wrong == []


@pytest.mark.parametrize(
    ("label", "meaning"),
    [
        ("spleen", "Spleen"),
        ("Left Kidney", "Kidney"),
        ("kidney_right", "Kidney"),
        ("rib_left_10", "Rib"),
        ("vertebrae_L5", "Vertebra"),
        ("heart_ventricle_left", "Left ventricle"),
        ("left atrium", "Left atrium"),
        ("Enhancing tumor", "Neoplasm"),
        ("left kidney cyst", "Cyst"),
        ("urinary_bladder", "Bladder"),
    ],
)
def test_what_bundles_call_things_has_a_code(label: str, meaning: str) -> None:
    found = codes.guess(label)
    assert found is not None
    assert found[1].meaning == meaning


@pytest.mark.parametrize("label", ["category 1", "A", "", "in body", "left"])
def test_what_says_nothing_has_none(label: str) -> None:
    assert codes.guess(label) is None
