from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.domain.history import Fact, Standing
from node.domain.inquiry import InquiryState
from node.domain.report_state import ReportState
from node.errors import Failed, Transient
from node.loop import Stop
from node.retrieve.asking import CHILD, ask
from node.retrieve.fhir.exchange import AskedResource, CapabilityQuery, HistoryAnswer, HistoryQuery, ResourceAnswer
from node.retrieve.fhir.inquiry import capability_of, history_of
from tests.fakes import STUDY
from tests.retrieve import records
from tests.retrieve.records import (
    ACCESSIONS,
    ICD,
    LOINC,
    SCT,
    SYSTEM,
    Raw,
    Records,
    about,
    coded_status,
    concept,
    condition,
    observation,
    outcome,
    serving,
)

ATC = "http://www.whocc.no/atc"
RADIOLOGY = [concept("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD", "Radiology")]


@pytest.fixture
def server() -> Iterator[Records]:
    with serving() as running:
        yield running


def query(server: Records, *resources: str, **changes: Any) -> HistoryQuery:
    made: dict[str, Any] = {
        "server": "RECORDS",
        "base": server.base,
        "connect_s": 5,
        "answer_s": 20,
        "longest_s": 20,
        "most_bytes": 1 << 20,
        "system": SYSTEM,
        "patient_id": "P1",
        "birth_date": "19700101",
        "sex": "F",
        "study_instance_uid": STUDY,
        "accession_system": ACCESSIONS,
        "accession_number": "A1",
        "asked": [AskedResource(resource=each) for each in resources or ("Condition",)],
        "categories": ("laboratory", "vital-signs"),
        "since": "2025-01-01",
        "today": "2026-01-02",
        "post": False,
        "page_size": 50,
        "most_pages": 3,
    }
    return HistoryQuery(**made | changes)


def one(server: Records, resource: str = "Condition", **changes: Any) -> ResourceAnswer:
    """The answer on one resource."""
    (answer,) = history_of(query(server, resource, **changes)).resources
    return answer


def facts(server: Records, *resources: dict[str, Any]) -> tuple[Fact, ...]:
    """What resources of one kind tell."""
    server.put(*resources)
    return one(server, resources[0]["resourceType"]).facts


def always(status: int, body: bytes = b"{}", **headers: str) -> Callable[[str], Raw]:
    return lambda _path: (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


# What is asked, and of whom


def test_the_patient_is_asked_for_by_system_and_identifier_and_the_rest_by_the_patient(server: Records) -> None:
    server.put(condition(), observation())
    answer = history_of(query(server, "Condition", "Observation"))
    assert (answer.state, answer.birth_date, answer.sex) == (InquiryState.ANSWERED, "19700101", "F")
    assert server.kinds_asked() == ["Patient", "Condition", "Observation"]
    keys = [dict(each[2]) for each in server.asked]
    assert keys[0]["identifier"] == f"{SYSTEM}|P1"
    assert [each["patient"] for each in keys[1:]] == ["Patient/a1"] * 2
    assert keys[2]["date"] == "ge2025-01-01"
    assert keys[2]["category"].count("observation-category|") == 2


def test_a_search_by_post_has_no_identifier_in_its_address(server: Records) -> None:
    server.put(condition())
    assert one(server, post=True).facts
    assert {(method, path) for method, path, _, _ in server.asked} == {
        ("POST", "/r4/Patient/_search"),
        ("POST", "/r4/Condition/_search"),
    }


@pytest.mark.parametrize("number", ["*", "P*", "UNKNOWN", "0", " P1", "P1\n", "P\\1", "x" * 65])
def test_nobody_in_particular_is_never_asked_for(server: Records, number: str) -> None:
    answer = history_of(query(server, patient_id=number))
    assert answer.state is InquiryState.FAILED
    assert server.asked == []


def test_marks_that_part_values_are_escaped(server: Records) -> None:
    history_of(query(server, patient_id="P1,P2|x$y"))
    assert dict(server.asked[0][2])["identifier"] == f"{SYSTEM}|P1\\,P2\\|x\\$y"


def test_the_token_is_shown_and_never_told(server: Records, tmp_path: Path) -> None:
    server.token = "secret-of-ours"
    assert "login" in history_of(query(server)).reason
    file = tmp_path / "token"
    file.write_text("secret-of-ours\n")
    assert history_of(query(server, token_file=str(file))).state is InquiryState.ANSWERED
    file.write_text("two words")
    assert history_of(query(server, token_file=str(file))).reason == "its token_file holds no token"


@pytest.mark.parametrize(
    ("patients", "state", "words"),
    [
        ([], InquiryState.NOBODY, "no patient"),
        ([records.patient(), records.patient(key="a2")], InquiryState.DOUBTFUL, "several patients"),
        ([records.patient(identifier=[{"system": "urn:x", "value": "P1"}])], InquiryState.DOUBTFUL, "does not bear"),
        (
            [records.patient(identifier=[{"system": SYSTEM, "value": "P1", "use": "old"}])],
            InquiryState.DOUBTFUL,
            "does not bear",
        ),
        ([records.patient(link=[{"type": "replaced-by"}])], InquiryState.DOUBTFUL, "not in use"),
        ([records.patient(active=False)], InquiryState.DOUBTFUL, "not in use"),
        ([records.patient(key="../a1")], InquiryState.DOUBTFUL, "sound id"),
    ],
)
def test_exactly_one_patient_must_bear_the_identifier(
    server: Records, patients: list[dict[str, Any]], state: InquiryState, words: str
) -> None:
    server.resources["Patient"] = patients
    server.wrong["Patient"] = lambda _path: (200, {}, server.bundle("Patient"))
    answer = history_of(query(server))
    assert answer.state is state
    assert words in answer.reason
    assert server.kinds_asked() == ["Patient"]


@pytest.mark.parametrize(
    ("told", "known", "birth_date"),
    [
        ("1970-01-02", "19700101", "19700102"),
        ("1970", "19700101", "19700101"),
        ("1971", "19700101", "1971"),
        ("1970-01", "", "197001"),
        (None, "19700101", ""),
        ("yesterday", "19700101", ""),
    ],
)
def test_whom_the_server_means_is_told_as_it_tells_it(
    server: Records, told: str | None, known: str, birth_date: str
) -> None:
    server.resources["Patient"] = [records.patient(birthDate=told, gender="unknown")]
    answer = history_of(query(server, birth_date=known))
    assert (answer.birth_date, answer.sex) == (birth_date, "")


# What the answers say


def test_a_problem_has_a_fact_for_each_code_that_we_know(server: Records) -> None:
    concept_ = {
        "text": "Lung cancer",
        "coding": [
            {"system": ICD, "code": "C34.1"},
            {"system": SCT, "code": "363358000"},
            {"system": "urn:local", "code": "77"},
            {"system": SCT, "code": "no code at all"},
        ],
    }
    found = facts(server, condition(code=concept_))
    assert [each.coded for each in found] == ["I10:C34.1", "SCT:363358000"]
    assert {(each.code, each.value, each.source) for each in found} == {("problem", "Lung cancer", "fhir RECORDS")}
    assert {each.observed_at for each in found} == {"2020-05"}


def test_what_has_no_code_is_kept_in_words_on_one_line(server: Records) -> None:
    (fact,) = facts(server, condition(code={"text": "Fell\r\nfrom \x1b[31ma horse"}))
    assert (fact.value, fact.coded) == ("Fell from [31ma horse", "")


@pytest.mark.parametrize(
    ("verified", "clinical", "expected"),
    [
        ("confirmed", "active", ("yes", "")),
        ("confirmed", "resolved", ("yes", "2026-01-02")),
        ("confirmed", "remission", ("yes", "2026-01-02")),
        ("refuted", "", ("no", "")),
        ("entered-in-error", "active", None),
        ("unconfirmed", "active", None),
        ("differential", "active", None),
        ("provisional", "active", None),
    ],
)
def test_status_decides_whether_a_problem_stands(
    server: Records, verified: str, clinical: str, expected: tuple[str, str] | None
) -> None:
    server.put(
        condition(
            verificationStatus=coded_status("condition-ver-status", verified),
            clinicalStatus=coded_status("condition-clinical", clinical),
        )
    )
    answer = one(server)
    assert [(each.standing.value, each.ended_at) for each in answer.facts] == ([expected] if expected else [])
    assert bool(answer.reason) == (expected is None)


@pytest.mark.parametrize(
    ("changes", "begun", "ended"),
    [
        ({"onsetDateTime": None, "onsetPeriod": {"start": "2019", "end": "2020"}}, "2019", ""),
        ({"onsetDateTime": "2020-13-01", "recordedDate": "2021-02-03"}, "2021-02-03", ""),
        ({"abatementDateTime": "2022-02"}, "2020-05", "2022-02"),
        ({"abatementPeriod": {"start": "2022", "end": "2023-01-01"}}, "2020-05", "2023-01-01"),
        ({"abatementString": "in spring", "meta": {"lastUpdated": "2024-01-01T00:00:00Z"}}, "2020-05", "2024-01-01"),
    ],
)
def test_dates_are_kept_as_exact_as_they_are_told(
    server: Records, changes: dict[str, Any], begun: str, ended: str
) -> None:
    (fact,) = facts(server, condition(**changes))
    assert (fact.observed_at, fact.ended_at) == (begun, ended)


def test_no_known_allergy_is_a_no_and_no_information_is_nothing(server: Records) -> None:
    ips = "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips"
    found = facts(
        server,
        about("AllergyIntolerance", 1, code=concept(SCT, "716186003", "Keine Allergie bekannt")),
        about("AllergyIntolerance", 2, code=concept(ips, "no-known-medication-allergies", "No known drug allergies")),
        about("AllergyIntolerance", 3, code=concept(ips, "no-allergy-info", "No information")),
        about("AllergyIntolerance", 4, code=concept(SCT, "91936005", "Allergy to penicillin")),
        about(
            "AllergyIntolerance",
            5,
            code=concept(SCT, "300913006", "Shellfish"),
            verificationStatus=coded_status("allergyintolerance-verification", "refuted"),
        ),
    )
    assert [(each.coded, each.value, each.standing.value) for each in found] == [
        ("SCT:716186003", "No known allergies", "no"),
        ("", "drug allergy", "no"),
        ("SCT:91936005", "Allergy to penicillin", "yes"),
        ("SCT:300913006", "Shellfish", "no"),
    ]


def test_what_is_taken_what_was_and_what_is_not(server: Records) -> None:
    drug = concept(ATC, "B01AC06", "Acetylsalicylic acid")
    states = ["active", "stopped", "not-taken", "entered-in-error", "unknown", "intended", "on-hold"]
    found = facts(
        server,
        *(
            about(
                "MedicationStatement",
                number,
                status=state,
                medicationCodeableConcept={**drug, "text": state},
                effectivePeriod={"start": "2024-01-01", "end": "2025-01-01" if state == "stopped" else "2030-01-01"},
            )
            for number, state in enumerate(states)
        ),
    )
    assert [(each.value, each.standing.value, each.ended_at) for each in found] == [
        ("active", "yes", ""),
        ("stopped", "yes", "2025-01-01"),
        ("not-taken", "no", ""),
        ("on-hold", "yes", ""),
    ]
    assert {each.coded for each in found} == {"ATC:B01AC06"}


def test_a_medication_is_looked_up_in_the_answer_alone(server: Records) -> None:
    rxnorm = "http://www.nlm.nih.gov/research/umls/rxnorm"
    terms = {"status": "active", "intent": "order"}
    server.included["MedicationRequest"] = [
        {"resourceType": "Medication", "id": "m2", "code": concept(rxnorm, "11289", "Warfarin")}
    ]
    found = facts(
        server,
        about(
            "MedicationRequest",
            1,
            medicationReference={"reference": "#m1"},
            contained=[{"resourceType": "Medication", "id": "m1", "code": concept(ATC, "B01AF02", "Apixaban")}],
            **terms,
        ),
        about("MedicationRequest", 2, medicationReference={"reference": "Medication/m2"}, **terms),
        about("MedicationRequest", 3, medicationReference={"reference": "Medication/m3"}, **terms),
        about("MedicationRequest", 4, medicationReference={"reference": "https://evil.example/Medication/m2"}, **terms),
        about("MedicationRequest", 5, medicationCodeableConcept={"text": "planned"}, status="active", intent="plan"),
    )
    assert [each.coded for each in found] == ["ATC:B01AF02", "RXN:11289"]
    assert server.kinds_asked() == ["Patient", "MedicationRequest"]


def test_a_value_has_its_number_and_its_ucum_unit(server: Records) -> None:
    pressure = [
        {
            "code": concept(LOINC, code, name),
            "valueQuantity": {"value": value, "system": records.UCUM, "code": "mm[Hg]"},
        }
        for code, name, value in (("8480-6", "Systolic", 120), ("8462-4", "Diastolic", 80))
    ]
    found = facts(
        server,
        observation(1),
        observation(2, code=concept(LOINC, "85354-9", "Blood pressure"), valueQuantity=None, component=pressure),
        observation(
            3, code=concept(LOINC, "2160-0", "x"), valueQuantity={"value": 0.2, "comparator": "<", "unit": "u"}
        ),
        observation(4, code={"text": "Pain"}, valueQuantity={"value": 7}),
        observation(5, status="entered-in-error"),
        observation(6, valueQuantity=None, dataAbsentReason={"text": "lost"}),
        observation(7, valueQuantity={"value": True}),
        observation(
            8, code=concept(LOINC, "72166-2", "Smoking"), valueQuantity=None, valueCodeableConcept={"text": "s"}
        ),
    )
    assert {(each.code, each.coded, each.value, each.unit, each.number) for each in found} == {
        ("observation", "LN:48065-7", "4.2", "mg/L", 4.2),
        ("observation", "LN:8480-6", "120", "mm[Hg]", 120.0),
        ("observation", "LN:8462-4", "80", "mm[Hg]", 80.0),
        ("observation", "LN:2160-0", "<0.2", "u", None),
        ("observation", "", "Pain: 7", "", None),
        ("smoking_status", "LN:72166-2", "s", "", None),
    }


def test_of_each_code_the_newest_values_are_kept(server: Records) -> None:
    many = [observation(number, effectiveDateTime=f"2025-01-{number:02}") for number in range(1, 20)]
    server.put(*many)
    answer = one(server, "Observation")
    assert [each.observed_at for each in answer.facts] == [f"2025-01-{day}" for day in (19, 18, 17, 16, 15)]
    assert "14 left out: older" in answer.reason


def test_a_procedure_was_done_or_was_not(server: Records) -> None:
    code = concept(SCT, "232717009", "Coronary artery bypass graft")
    found = facts(
        server,
        about("Procedure", 1, status="completed", code=code, performedPeriod={"start": "2018-03-04"}),
        about("Procedure", 2, status="not-done", code=code),
        about("Procedure", 3, status="preparation", code=code),
    )
    assert [(each.standing.value, each.observed_at) for each in found] == [("yes", "2018-03-04"), ("no", "")]


def test_the_order_of_the_study_says_why_and_how_urgent(server: Records) -> None:
    order = {"status": "active", "intent": "order", "reasonCode": [{"text": "Suspected bleed"}], "priority": "stat"}
    ours = [{"system": ACCESSIONS, "value": "A1"}]
    server.put(
        about(
            "ServiceRequest",
            1,
            identifier=ours,
            requester={"reference": "Organization/9", "display": "Ward 3"},
            **order,
        ),
        about("ServiceRequest", 2, identifier=ours, **{**order, "priority": "routine", "status": "revoked"}),
        about("ServiceRequest", 3, identifier=[{"system": ACCESSIONS, "value": "A2"}], **order),
    )
    answer = one(server, "ServiceRequest")
    assert [(each.code, each.value) for each in answer.facts] == [
        ("reason_for_request", "Suspected bleed"),
        ("service", "Ward 3"),
    ]
    assert answer.priority == "stat"
    assert dict(server.asked[-1][2])["identifier"] == f"{ACCESSIONS}|A1"


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"identifier": [{"system": ACCESSIONS, "value": "A1"}]}, ReportState.FINAL),
        ({"basedOn": [{"reference": "ServiceRequest/s1"}]}, ReportState.FINAL),
        ({"basedOn": [{"identifier": {"system": ACCESSIONS, "value": "A1"}}]}, ReportState.FINAL),
        (
            {"imagingStudy": [{"identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{STUDY}"}}]},
            ReportState.FINAL,
        ),
        ({"identifier": [{"system": ACCESSIONS, "value": "A1"}], "status": "preliminary"}, ReportState.PRELIMINARY),
        (
            {
                "identifier": [{"system": ACCESSIONS, "value": "A1"}],
                "imagingStudy": [{"identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3.4"}}],
            },
            None,
        ),
        ({"identifier": [{"system": ACCESSIONS, "value": "A1"}], "status": "entered-in-error"}, None),
        ({"identifier": [{"system": ACCESSIONS, "value": "A1"}], "category": []}, None),
        ({"identifier": [{"system": ACCESSIONS, "value": "A2"}]}, None),
        ({"identifier": [{"system": "urn:x", "value": "A1"}]}, None),
        ({"identifier": [{"system": ACCESSIONS, "value": "A1"}], "subject": {"reference": "Patient/a2"}}, None),
    ],
)
def test_a_report_counts_for_its_own_study_alone(
    server: Records, changes: dict[str, Any], state: ReportState | None
) -> None:
    order = {"resourceType": "ServiceRequest", "id": "s1", "identifier": [{"system": ACCESSIONS, "value": "A1"}]}
    server.included["DiagnosticReport"] = [order]
    server.put(about("DiagnosticReport", 1, **{"status": "final", "category": RADIOLOGY, **changes}))
    assert one(server, "DiagnosticReport").report_state is state


def test_of_several_reports_of_a_study_the_least_counts(server: Records) -> None:
    named = {"identifier": [{"system": ACCESSIONS, "value": "A1"}], "category": RADIOLOGY}
    server.put(*(about("DiagnosticReport", i, status=s, **named) for i, s in enumerate(("final", "preliminary"), 1)))
    assert one(server, "DiagnosticReport").report_state is ReportState.PRELIMINARY


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient/a2"},
        {"reference": "https://elsewhere.example/r4/Patient/a1"},
        {"reference": "Patient/a1/../a2"},
        {"reference": "Group/a1"},
        {"identifier": {"system": SYSTEM, "value": "P2"}},
        {"identifier": {"system": "urn:x", "value": "P1"}},
        {"reference": "Patient/a1", "identifier": {"system": SYSTEM, "value": "P2"}},
        {"reference": "#p"},
        {},
        None,
        "Patient/a1",
    ],
)
def test_what_is_of_another_patient_is_dropped_and_counted(server: Records, subject: object) -> None:
    stranger = condition(2, subject=subject, contained=[records.patient("P2", "p")])
    server.put(condition(1), stranger)
    answer = one(server)
    assert len(answer.facts) == 1
    assert answer.reason == "1 left out: of another patient"


@pytest.mark.parametrize("subject", ["{base}/Patient/a1", "Patient/a1/_history/3", "#p"])
def test_the_patient_may_be_named_in_several_ways(server: Records, subject: str) -> None:
    named = {"reference": subject.format(base=server.base)}
    assert len(facts(server, condition(1, subject=named, contained=[records.patient("P1", "p")]))) == 1


# Pages


def test_all_pages_are_read_and_what_comes_twice_counts_once(server: Records) -> None:
    server.page = 1
    names = ["363358000", "59282003", "363358000"]
    server.put(*(condition(number, code=concept(SCT, code, "x")) for number, code in enumerate(names)))
    assert [each.coded for each in one(server).facts] == ["SCT:363358000", "SCT:59282003"]


def test_what_lies_beyond_the_last_page_is_left_out_and_told(server: Records) -> None:
    server.page = 1
    server.put(*(condition(number, code=concept(SCT, f"10{number}", "x")) for number in range(5)))
    answer = one(server)
    assert len(answer.facts) == 3
    assert answer.reason == "further pages left out (most_pages)"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9/r4/Condition?page=1", "another address"),
        ("https://evil.example/r4/Condition?page=1", "another address"),
        ("//evil.example/Condition", "another address"),
        ("http://user:word@{origin}/r4/Condition?page=1", "another address"),
        ("Condition", "circle"),
        ("http://[", "another address"),
        ("http://x:y:z/", "no address"),
    ],
)
def test_a_next_page_elsewhere_or_in_a_circle_spoils_the_answer(server: Records, url: str, words: str) -> None:
    origin = server.base.removeprefix("http://").removesuffix("/r4")
    link = [{"relation": "next", "url": url.format(origin=origin)}]
    page = json.dumps({"resourceType": "Bundle", "type": "searchset", "link": link}).encode()
    server.wrong["Condition"] = always(200, page)
    answer = one(server)
    assert answer.state is InquiryState.FAILED
    assert words in answer.reason
    assert "evil" not in answer.reason


# What does not answer as it should


@pytest.mark.parametrize(
    ("wrong", "state", "again"),
    [
        (always(404, outcome("not-supported")), InquiryState.NOT_OFFERED, False),
        (always(400, b"<html>"), InquiryState.NOT_OFFERED, False),
        (always(403), InquiryState.FAILED, False),
        (always(302, Location="https://evil.example/"), InquiryState.FAILED, False),
        (always(500, outcome("exception")), InquiryState.FAILED, True),
        (always(200, b"junk"), InquiryState.FAILED, False),
        (always(200, b"[" * 100_000), InquiryState.FAILED, False),
        (always(200, b"[]"), InquiryState.FAILED, False),
        (always(200, b"{}"), InquiryState.FAILED, False),
        (always(200, outcome("throttled")), InquiryState.FAILED, False),
        (always(200, b'{"resourceType": "Bundle", "type": "batch"}'), InquiryState.FAILED, False),
        (always(200, gzip.compress(b" " * (8 << 20)), Content_Encoding="gzip"), InquiryState.FAILED, False),
    ],
)
def test_a_resource_that_fails_takes_no_other_with_it(
    server: Records, wrong: Callable[[str], Raw], state: InquiryState, again: bool
) -> None:
    server.put(observation())
    server.wrong["Condition"] = wrong
    first, second = history_of(query(server, "Condition", "Observation", most_bytes=1 << 21)).resources
    assert (first.state, first.again, first.facts) == (state, again, ())
    assert not {"P1", "secret", "evil"} & set(first.reason.replace(".", " ").split())
    assert second.facts


def test_more_bytes_than_a_site_allows_are_not_read(server: Records) -> None:
    server.wrong["Condition"] = always(200, b" " * (1 << 20))
    answer = one(server, most_bytes=1 << 16)
    assert (answer.state, answer.again) == (InquiryState.FAILED, False)
    assert "65536 bytes" in answer.reason


def test_of_an_outcome_nothing_is_told_but_what_fhir_has_a_code_for(server: Records) -> None:
    server.wrong["Condition"] = always(500, outcome("Doe-Jane"))
    assert one(server).reason == "has a fault (HTTP 500)"
    server.wrong["Condition"] = always(500, outcome("lock-error"))
    assert one(server).reason == "has a fault (HTTP 500: lock-error)"


def test_a_busy_server_says_when_to_come_again(server: Records) -> None:
    server.wrong["Condition"] = always(429, Retry_After="120")
    answer = history_of(query(server))
    assert (answer.wait_s, answer.resources[0].again) == (120, True)
    server.wrong["Condition"] = always(503, Retry_After="Fri, 01 Jan 2100 00:00:00 GMT")
    assert history_of(query(server)).wait_s == 3600
    server.wrong["Patient"] = always(503, Retry_After="soon")
    answer = history_of(query(server))
    assert (answer.again, answer.wait_s, answer.resources) == (True, 0, ())


def test_values_of_every_wrong_type_break_nothing(server: Records) -> None:
    for index, junk in enumerate(
        (None, 1, "x", [], [[]], {}, [None], {"coding": "x"}, {"coding": [{"system": 1, "code": {}}]})
    ):
        for kind, fields in {
            "Condition": ("code", "verificationStatus", "clinicalStatus", "onsetPeriod", "recordedDate", "meta"),
            "Observation": ("code", "valueQuantity", "component", "effectivePeriod", "status"),
            "MedicationStatement": ("medicationCodeableConcept", "medicationReference", "status"),
            "ServiceRequest": ("identifier", "reasonCode", "requester", "priority"),
            "DiagnosticReport": ("identifier", "category", "basedOn", "imagingStudy", "status"),
        }.items():
            server.put(*(about(kind, 10 * index + at, **{name: junk}) for at, name in enumerate(fields)))
    answers = history_of(query(server, *(kind for kind in server.resources if kind != "Patient"))).resources
    assert {each.state for each in answers} == {InquiryState.ANSWERED}
    assert {fact.standing for each in answers for fact in each.facts} <= {Standing.YES}
    assert not any("cannot be read" in each.reason for each in answers)


def test_what_has_not_changed_is_not_sent_again_unless_the_patient_is_told_differently(server: Records) -> None:
    server.etags = True
    server.put(condition())
    first = one(server)
    assert first.etag
    kept = AskedResource(resource="Condition", etag=first.etag, digest=first.digest)
    again = one(server, asked=[kept])
    assert (again.unchanged, again.facts, again.etag) == (True, (), first.etag)
    server.resources["Patient"] = [records.patient(birthDate="1970-01-02")]
    other = one(server, asked=[kept])
    assert (other.unchanged, len(other.facts)) == (False, 1)


# In a process of its own


def test_a_server_that_hangs_is_left_and_what_it_told_before_is_kept(server: Records) -> None:
    server.put(observation())

    def hang(_path: str) -> Raw:
        server.over.wait(60)
        return 200, {}, b"{}"

    server.wrong["Condition"] = hang
    answer = _asked(query(server, "Observation", "Condition", answer_s=0.5))
    assert [(each.state, each.again) for each in answer.resources] == [
        (InquiryState.ANSWERED, False),
        (InquiryState.FAILED, True),
    ]


def test_a_server_that_drips_is_ended(server: Records) -> None:
    server.wrong["Patient"] = lambda _path: time.sleep(0.2) or (200, {}, b" " * 1000)
    answer = _asked(query(server, longest_s=0.1, answer_s=5))
    assert answer.again
    assert "within 0.1 s" in answer.reason


def _asked(wanted: HistoryQuery) -> HistoryAnswer:
    reply = ask(CHILD, wanted, Stop(), lambda: None)
    assert reply.history is not None
    return reply.history


# What `check` asks


def capable(server: Records, **changes: Any) -> CapabilityQuery:
    terms = {name: getattr(query(server), name) for name in ("server", "base", "connect_s", "answer_s", "longest_s")}
    made = {**terms, "most_bytes": 1 << 20, "system": SYSTEM, "nobody": "2.25.1", "resources": ("Procedure",)}
    return CapabilityQuery(**made, post=False, **changes)


def test_what_a_server_offers_is_looked_at(server: Records) -> None:
    found = capability_of(capable(server))
    assert (found.version, found.software, found.missing) == ("4.0.1", "Stub", ("Procedure",))
    assert dict(server.asked[-1][2])["identifier"] == f"{SYSTEM}|2.25.1"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (records.capability("3.0.2"), "speaks FHIR 3.0.2"),
        ({"resourceType": "Bundle"}, "something else"),
    ],
)
def test_another_kind_of_server_is_told(server: Records, document: dict[str, Any], words: str) -> None:
    server.wrong["metadata"] = always(200, json.dumps(document).encode())
    with pytest.raises(Failed, match=words):
        capability_of(capable(server))


def test_a_server_that_is_away_is_told() -> None:
    nobody = Records(base="http://127.0.0.1:9/r4")
    with pytest.raises(Transient, match="nobody answers"):
        capability_of(capable(nobody))
