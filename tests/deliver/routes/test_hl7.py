from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.config import Route
from node.deliver.hl7.escape import escaped, person_name
from node.deliver.routes import hl7
from node.domain.finding import Code
from node.domain.notice import Flag
from node.domain.patient import Patient
from node.domain.priority import Lane
from node.errors import Misconfigured, Unsuitable
from tests.deliver.routes.letters import FLAG, letter, routes

TEMPLATES = Path(hl7.__file__).parent / "templates"
_BACK = {"E": "\\", "F": "|", "S": "^", "T": "&", "R": "~"}


def route(**changes: object) -> Route:
    keys = {"name": "R", "kind": "hl7", "host": "127.0.0.1", "port": 2575, "interface": "worklist", **changes}
    return Route.model_validate(keys)


def sent(flag: Flag = FLAG, **changes: object) -> list[list[str]]:
    used = route(**changes)
    text = hl7.message(used, letter(used, flag)).decode(
        "latin-1" if changes.get("character_set") == "8859/1" else "utf-8"
    )
    assert text.endswith("\r")
    return [line.split("|") for line in text.split("\r")[:-1]]


def segments(message: list[list[str]], name: str) -> list[list[str]]:
    return [fields for fields in message if fields[0] == name]


def unescaped(text: str) -> str:
    return re.sub(r"\\([EFSTR])\\", lambda found: _BACK[found[1]], text)


@given(st.text())
def test_any_text_stays_in_its_field_and_comes_back_as_it_was(text: str) -> None:
    inside = escaped(text)
    assert not set(inside) & set("|^~&\r\n\x0b\x1c\x1b\x00\u2028\x85")
    cleaned = re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)[:2000].strip()
    assert unescaped(inside) == cleaned


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_nothing_that_a_study_says_adds_a_segment_or_changes_a_status(name: str, accession: str, reason: str) -> None:
    flag = replace(
        FLAG,
        accession_number=f"A{accession}",
        patient=replace(FLAG.patient, name=name, patient_id=accession, issuer=reason),
        reasons=(reason,),
        study_description=reason,
        findings=(replace(FLAG.findings[0], code=Code(name, reason, accession), sentence=reason),),
    )
    plain, attacked = sent(), sent(flag)
    assert [fields[0] for fields in attacked] == [fields[0] for fields in plain]
    assert [len(fields) for fields in attacked] == [len(fields) for fields in plain]
    assert {fields[11] for fields in segments(attacked, "OBX")} == {"P"}
    assert segments(attacked, "OBR")[0][25] == "P"


def test_the_result_stands_field_for_field_where_the_worklist_looks() -> None:
    message = sent()
    (head,), (person,), (request,) = (segments(message, name) for name in ("MSH", "PID", "OBR"))
    assert (head[8], head[10], head[11], head[17]) == ("ORU^R01^ORU_R01", "P", "2.5.1", "UNICODE UTF-8")
    assert (person[3], person[5]) == ("CANARYID7^^^CANARYISSUER", "CANARYNAME^Given^Middle^Jr^Dr")
    assert (request[7], request[18], request[27]) == ("19990909121314", "CANARYACC9", "^^^^^S")
    assert segments(message, "TQ1") == [["TQ1", "1", *[""] * 7, "S"]]
    observed = {(fields[3].split("^")[0], fields[4]): fields for fields in segments(message, "OBX")}
    assert [fields[1] for fields in segments(message, "OBX")] == [str(n + 1) for n in range(len(observed))]
    assert observed["LANE", ""][5:9] == ["STAT", "", "", "AA"]
    assert observed["SCORE", ""][5] == "87.5"
    finding = observed["FINDING", "1"]
    assert (finding[2], finding[5], finding[8], finding[9]) == ("CE", "50960005^Hemorrhage^SCT", "AA", "0.875")
    assert observed["FINDING-TEXT", "1"][5] == "CANARYREASON: blood, left, 2 of them, probability 0.88 [bleed]"
    assert observed["110180", ""][5] == FLAG.study_instance_uid


@pytest.mark.parametrize(("lane", "priority"), [(Lane.STAT, "S"), (Lane.URGENT, "A"), (Lane.ROUTINE, "R")])
def test_lanes_are_told_as_priorities_before_and_after_tq1_came(lane: Lane, priority: str) -> None:
    flag = replace(FLAG, lane=lane)
    for version in ("2.3.1", "2.4", "2.5", "2.5.1"):
        message = sent(flag, version=version)
        assert segments(message, "OBR")[0][27] == f"^^^^^{priority}"
        assert [fields[9] for fields in segments(message, "TQ1")] == ([priority] if version >= "2.5" else [])


@pytest.mark.parametrize("shipped", ["orm_o01", "omi_o23"])
def test_orders_are_changed_only_where_the_site_allows_it(shipped: str) -> None:
    with pytest.raises(ValueError, match="may_change_orders"):
        route(message=shipped)
    message = sent(message=shipped, may_change_orders=True)
    assert segments(message, "ORC")[0][1] == "XO"
    with pytest.raises(Misconfigured, match="may_change_orders"):
        hl7.check(route(template_file=str(TEMPLATES / f"{shipped}.hl7")))


def test_an_imaging_order_exists_from_version_2_5_on() -> None:
    with pytest.raises(ValueError, match=r"from version 2\.5 on"):
        route(message="omi_o23", may_change_orders=True, version="2.4")


def test_a_study_without_an_accession_number_is_not_told() -> None:
    with pytest.raises(Unsuitable, match="no accession number"):
        sent(replace(FLAG, accession_number=" "))


def test_what_a_character_set_lacks_is_shown_as_a_question_mark() -> None:
    flag = replace(FLAG, patient=Patient(patient_id="1", name="Müller^Łucja"))
    assert segments(sent(flag, character_set="8859/1"), "PID")[0][5] == "Müller^?ucja"


@pytest.mark.parametrize(
    ("dicom", "components"),
    [
        ("Doe^Jane", ("Doe", "Jane")),
        ("Doe^Jane^Q^Dr^Jr", ("Doe", "Jane", "Q", "Jr", "Dr")),
        ("Yamada^Tarou=山田^太郎", ("Yamada", "Tarou")),
        ("=山田^太郎", ("山田", "太郎")),
        ("", ()),
    ],
)
def test_names_are_turned_from_dicoms_order_into_hl7s(dicom: str, components: tuple[str, ...]) -> None:
    assert person_name(dicom) == components


SPOILT = [
    ("|||P||^^^^^", "|||F||^^^^^", "OBR-25 is P"),
    ("|||P||^^^^^", "|||||^^^^^", "OBR-25 is P"),
    ("|||P||^^^^^", "|||P~F||^^^^^", "OBR-25 is P"),
    ("|||P||^^^^^", "|||{lane}||^^^^^", "OBR-25 is P"),
    ("{lane}|||{abnormal}|||P|", "{lane}|||{abnormal}|||F|", "OBX-11 is P"),
    ("{lane}|||{abnormal}|||P|", "{lane}|||{abnormal}|||C|", "OBX-11 is P"),
    ("{lane}|||{abnormal}|||P|||{sent_at}", "{lane}", "OBX-11 is P"),
    ("[each reason] OBX|{number}|TX|REASON^Reason^99MATINS", "[each reason] OBX|{number}|TX|REASON^Reason^LN", "OBX-3"),
    ("|{filler_number}^", "|{accession_number}^", "OBR-3"),
    ("|{control_id}|", "|1|", "MSH-10"),
    ("ORU^R01^ORU_R01", "MDM^T02", "MSH-9"),
    ("ORU^R01^ORU_R01", "{lane}", "MSH-9"),
    ("PID|1", "ORC|CA\nPID|1", "ORC-1"),
    ("PID|1", "FHS|1\nPID|1", "FHS has no place"),
    ("PID|1", "MSH|1\nPID|1", "MSH has no place"),
    ("{patient_name}", "{patient_nmae}", "{patient_nmae}"),
    ("{patient_name}", "{patient_name", "no segment|brace"),
    ("[if tq1]", "[if tq2]", "tq2"),
    ("[each reason]", "[each rule]", "rule"),
    ("PID|1", "PID|1\x1b", "control character"),
    ("{accession_number}", "", "accession_number"),
    ("OBX|", "NTE|", "ORU has one OBR"),
]


@pytest.mark.parametrize(("before", "after", "said"), SPOILT)
def test_a_template_that_says_what_it_must_not_is_refused_with_file_and_line(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    text = (TEMPLATES / "oru_r01.hl7").read_text()
    assert before in text
    file = tmp_path / "own.hl7"
    file.write_text(text.replace(before, after))
    with pytest.raises(Misconfigured, match=said) as refused:
        hl7.check(route(template_file=str(file)))
    assert (refused.value.file, refused.value.key.startswith("line ")) == (str(file), True)


def test_a_route_needs_to_say_that_it_leads_to_a_worklist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs interface"):
        Route.model_validate({"name": "R", "kind": "hl7", "host": "h", "port": 1})


def test_the_shipped_messages_pass_their_own_check(tmp_path: Path) -> None:
    assert routes(tmp_path)["hl7"].message == "oru_r01"
    for name in ("oru_r01", "orm_o01", "omi_o23"):
        hl7.check(route(message=name, may_change_orders=name != "oru_r01"))
