"""Which requests a study fulfils: one item an accession number, with who issued it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset

from node.report.composition import encode
from node.report.documents.requests import referenced_requests
from node.report.evidence import Evidence
from tests.report.synthetic import SCANS, Scan, build, evidence_on
from tests.report.test_outputs import errors_of


@pytest.fixture
def evidence(series: Callable[[Scan], list[Path]]) -> Evidence:
    return evidence_on(series(SCANS["axial"]))


def issuer(name: str) -> list[Dataset]:
    item = Dataset()
    item.LocalNamespaceEntityID = name
    return [item]


def request(accession: str, by: str = "", **more: object) -> Dataset:
    item = Dataset()
    item.AccessionNumber = accession
    if by:
        item.IssuerOfAccessionNumberSequence = issuer(by)
    for keyword, value in more.items():
        setattr(item, keyword, value)
    return item


def with_header(evidence: Evidence, **header: object) -> Evidence:
    first = deepcopy(evidence.source)
    for keyword, value in header.items():
        setattr(first, keyword, value)
    return replace(evidence, sources=(first, *evidence.sources[1:]))


def accessions(evidence: Evidence) -> list[str]:
    return [str(item.AccessionNumber) for item in referenced_requests(evidence)]


def test_the_accession_number_of_the_source_is_one_item(evidence: Evidence) -> None:
    named = with_header(evidence, IssuerOfAccessionNumberSequence=issuer("RIS"))
    [item] = referenced_requests(named)
    assert (item.AccessionNumber, item.StudyInstanceUID) == ("A-1", named.study_instance_uid)
    assert item.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID == "RIS"


def test_a_study_of_several_requests_has_one_item_each(evidence: Evidence) -> None:
    attributes = [request("A-1", RequestedProcedureID="P1", ScheduledProcedureStepID="S1"), request("A-2", by="RIS-2")]
    both = with_header(evidence, RequestAttributesSequence=attributes)
    assert accessions(both) == ["A-1", "A-2"]
    first, second = referenced_requests(both)
    assert first.RequestedProcedureID == "P1"
    assert second.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID == "RIS-2"


def test_the_same_number_of_two_issuers_is_two_requests(evidence: Evidence) -> None:
    both = with_header(evidence, ReferencedRequestSequence=[request("A-1", by="RIS"), request("A-1", by="OTHER")])
    assert accessions(both) == ["A-1", "A-1"]


def test_a_request_without_an_accession_number_is_none(evidence: Evidence) -> None:
    none = with_header(evidence, AccessionNumber="", RequestAttributesSequence=[request("")])
    assert accessions(none) == []
    assert "ReferencedRequestSequence" not in build(none, "measurement_sr")


def test_the_archives_accession_number_goes_before_the_sources(evidence: Evidence) -> None:
    twice = with_header(evidence, RequestAttributesSequence=[request("A-1", RequestedProcedureID="P1"), request("A-2")])
    corrected = replace(twice, corrections={"AccessionNumber": "B-9"}, corrected_by="ARCHIVE")
    assert accessions(corrected) == ["B-9", "A-2"]


@pytest.mark.parametrize("kind", ["measurement_sr", "seg"])
def test_an_object_with_its_requests_is_conformant(kind: str, evidence: Evidence, tmp_path: Path) -> None:
    attributes = [request("A-1", RequestedProcedureID="P1", ScheduledProcedureStepID="S1")]
    named = with_header(evidence, RequestAttributesSequence=attributes, IssuerOfAccessionNumberSequence=issuer("RIS"))
    output = build(named, kind)
    assert output.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID == "RIS"
    path = tmp_path / "output.dcm"
    path.write_bytes(encode(output))
    assert errors_of(path) == []
