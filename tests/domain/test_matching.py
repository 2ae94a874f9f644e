from __future__ import annotations

import time
from typing import Any

import pytest

from node.domain.dicom_json import coded, element
from node.domain.matching import matches, told

HELD = {
    "00080018": element("UI", "1.2.3"),
    "00100010": element("PN", "Doe^Jane"),
    "00100020": element("LO", "P1"),
    "00100030": element("DA", "19700131"),
    "00080030": element("TM", "101530.5"),
    "00404005": element("DT", "20260102030405+0100"),
    "00741000": element("CS", "SCHEDULED"),
    "00400400": element("LT"),
    "00404018": element("SQ", coded("110005", "DCM", "Interpretation"), coded("110003", "DCM", "CAD")),
    "00404025": element("SQ"),
}
CODE = "00404018"


@pytest.mark.parametrize(
    ("tag", "key", "is_so"),
    [
        ("00741000", element("CS"), True),
        ("00741000", element("CS", "SCHEDULED"), True),
        ("00741000", element("CS", "scheduled"), False),
        ("00741000", element("CS", "COMPLETED", "SCHEDULED"), True),
        ("00741000", element("CS", "SCHED*"), True),
        ("00741000", element("CS", "*ED"), True),
        ("00741000", element("CS", "S?HEDULED"), True),
        ("00741000", element("CS", "S?EDULED"), False),
        ("00741000", element("CS", "SCHED[U]LED"), False),
        ("00400400", element("LT", "*"), True),
        ("00400400", element("LT", "?*"), False),
        ("00741204", element("LO", "x"), False),
        ("00741204", element("LO"), True),
        ("00080018", element("UI", "1.2.4", "1.2.3"), True),
        ("00080018", element("UI", "1.2.*"), False),
        ("00100010", element("PN", "doe^jane"), True),
        ("00100010", element("PN", "Doe^Jane^^"), True),
        ("00100010", element("PN", "DOE*"), True),
        ("00100010", element("PN", "Doe^J*^*"), True),
        ("00100010", element("PN", "Jane"), False),
        ("00100020", element("LO", "p1"), False),
        ("00100030", element("DA", "19700131"), True),
        ("00100030", element("DA", "19700101-19700131"), True),
        ("00100030", element("DA", "19700201-"), False),
        ("00100030", element("DA", "-19700131"), True),
        ("00100030", element("DA", "-19700130"), False),
        ("00080030", element("TM", "1015"), True),
        ("00080030", element("TM", "10-1014"), False),
        ("00080030", element("TM", "101530-101531"), True),
        ("00404005", element("DT", "20260102"), True),
        ("00404005", element("DT", "20260101-20260102"), True),
        ("00404005", element("DT", "20260102030406-"), False),
        ("00404005", element("DT", "20260102020405+0000"), True),
        ("00404005", element("DT", "20260102030405+0000"), False),
        ("00404005", element("DT", "20260101230000-0200-20260102010500-0200"), True),
        ("00404005", element("DT", "2026-2027"), True),
        ("00404005", element("DT", "20260103-"), False),
        ("00404005", element("DT", "nonsense"), False),
        (CODE, element("SQ"), True),
        (CODE, {"vr": "SQ", "Value": [{}]}, True),
        (CODE, element("SQ", {"00080100": element("SH", "110003")}), True),
        (CODE, element("SQ", {"00080100": element("SH", "110003"), "00080102": element("SH", "DCM")}), True),
        (CODE, element("SQ", {"00080100": element("SH", "110003"), "00080104": element("LO", "Inter*")}), False),
        ("00404025", element("SQ", {"00080100": element("SH")}), True),
        ("00404025", element("SQ", {"00080100": element("SH", "x")}), False),
    ],
)
def test_a_key_matches_as_the_standard_says(tag: str, key: dict[str, Any], is_so: bool) -> None:
    assert matches({tag: key}, HELD) is is_so


def test_all_keys_have_to_match() -> None:
    keys = {"00741000": element("CS", "SCHEDULED"), "00100020": element("LO", "P2")}
    assert not matches(keys, HELD)


def test_a_pattern_of_many_stars_ends_soon() -> None:
    started_s = time.process_time()
    assert not matches({"00400400": element("LT", "*a" * 2000 + "b")}, {"00400400": element("LT", "a" * 4000)})
    assert time.process_time() - started_s < 10


def test_a_range_of_many_hyphens_is_none_and_ends_soon() -> None:
    started_s = time.process_time()
    for _ in range(1000):
        assert not matches({"00404005": element("DT", "-".join(["2026"] * 800))}, HELD)
    assert time.process_time() - started_s < 3


def test_what_is_told_is_what_was_asked_for_and_empty_where_it_is_not_known() -> None:
    inner = {"00080100": element("SH"), "00080103": element("SH")}
    answer = told({CODE: element("SQ", inner), "00741204": element("LO"), "00100020": element("LO", "P*")}, HELD)
    assert answer["00741204"] == {"vr": "LO"}
    assert answer["00100020"] == element("LO", "P1")
    assert answer[CODE]["Value"] == [
        {"00080100": element("SH", "110005"), "00080103": {"vr": "SH"}},
        {"00080100": element("SH", "110003"), "00080103": {"vr": "SH"}},
    ]
