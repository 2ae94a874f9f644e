"""One page to print: words that can be searched, pictures, and nothing of the patient."""

from __future__ import annotations

import re
import zlib
from base64 import a85decode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from node.report.composition import encode
from node.report.pictures import printing
from tests.report.synthetic import SCANS, Scan, build, evidence_on, of_study

KIND = "encapsulated_pdf"


@pytest.fixture
def document(series: Callable[[Scan], list[Path]], tmp_path: Path) -> Dataset:
    path = tmp_path / "document.dcm"
    path.write_bytes(encode(build(of_study(evidence_on(series(SCANS["axial"]))), KIND)))
    return dcmread(path)


def test_it_is_one_page_of_pdf_with_its_pictures(document: Dataset) -> None:
    content = document.EncapsulatedDocument[: document.EncapsulatedDocumentLength]
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type /Page\b", content)) == 1
    assert content.count(b"/Subtype /Image") >= 1
    assert content.count(b"/FontFile2") == 2  # both fonts embedded


def test_it_says_what_it_is(document: Dataset) -> None:
    assert document.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert document.Modality == "DOC"
    title = document.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("126000", "DCM")
    assert document.DocumentTitle == "AI summary, RESEARCH - not for diagnosis"
    assert len(document.EncapsulatedDocument) % 2 == 0
    assert len(document.SourceInstanceSequence) == 1


def test_words_are_printed_and_none_is_of_the_header(
    series: Callable[[Scan], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[str] = []
    write = printing._write

    def record(sheet: object, left: float, bottom: float, text: str, *rest: object, **more: object) -> None:
        printed.append(text)
        write(sheet, left, bottom, text, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(printing, "_write", record)
    paths = series(SCANS["axial"])
    content = printing.printed(of_study(evidence_on(paths)))
    text = "\n".join(printed)
    assert "Brain: Volume " in text
    assert text.count("RESEARCH - not for diagnosis") == 3
    for value in ("Test", "Person", "T-1", "19700101", "1970", "A-1", "HOSPITAL-A", "MR head"):
        assert value.lower() not in text.lower()
        assert value.encode() not in content


def test_a_study_of_many_models_stays_on_one_page(series: Callable[[Scan], list[Path]]) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    many = replace(evidence, together=(evidence,) * 12)
    content = printing.printed(many)
    assert len(re.findall(rb"/Type /Page\b", content)) == 1
    streams = re.findall(rb"/ASCII85Decode /FlateDecode \][^>]*>>\s*stream\r?\n(.*?)~>", content, re.DOTALL)
    drawn = max((zlib.decompress(a85decode(stream)) for stream in streams), key=lambda each: each.count(b" Tf "))
    (scale,) = {float(each) for each in re.findall(rb"\n(0?\.\d+) 0 0 0?\.\d+ [\d.]+ [\d.]+ cm\n0 0 0 rg", drawn)}
    assert 0.4 < scale < 1
