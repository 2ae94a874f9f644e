"""The part on priors of the page on history says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydicom.uid import UID_dictionary

from node.domain.prior_document import DocumentKind, DocumentState, PriorDocument, kind_of
from node.report.priors import child, measured, reader, tree
from node.triage.priors import Standing

PAGE = (Path(__file__).parents[3] / "node" / "HISTORY.md").read_text().partition("## Priors")[2]


def table(heading: str) -> list[list[str]]:
    lines = PAGE.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |")) + 2
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize(("heading", "words"), [("verdict", Standing), ("document", DocumentState)])
def test_every_verdict_and_every_state_is_explained(heading: str, words: type[Standing | DocumentState]) -> None:
    assert [row[0].strip("`") for row in table(heading)] == [each.value for each in words]


def test_every_kind_of_object_that_is_read_is_named() -> None:
    named = " ".join(row[0] for row in table("object"))
    known = {uid: name for uid, (name, *_) in UID_dictionary.items()}
    read = {known[uid]: kind_of(uid) for uid in known if kind_of(uid) is not None}
    # pydicom does not know the label map yet.
    assert len(read) == 11
    assert kind_of("1.2.840.10008.5.1.4.1.1.66.7") is DocumentKind.SEGMENTATION
    for name, kind in read.items():
        plain = name.removesuffix(" Storage").removesuffix(" SR")
        plain = {"Encapsulated CDA": "CDA", "Chest CAD": "Chest", "Mammography CAD": "Mammography"}.get(plain, plain)
        plain = plain.removesuffix(" Text").removesuffix(" CAD")
        assert plain in named, (name, kind)
    assert DocumentKind.ENCAPSULATED in read.values()


def test_the_limits_are_those_of_the_code() -> None:
    (told,) = re.findall(r"limits \((.*?)\)", PAGE)
    assert told == (
        f"{reader.MEMORY_BYTES >> 20} MiB, {reader.LIMIT_S:g} s, {child.MOST_BYTES >> 20} MiB a report,"
        f" {tree.MOST_DEPTH} levels, {tree.MOST_ITEMS // 1000} 000 content items, {measured.MOST_FINDINGS} findings"
    )
    assert f"{tree.LONGEST_TEXT} characters of each" in PAGE


@pytest.mark.parametrize(
    ("document", "counts"),
    [
        (PriorDocument(completion="COMPLETE", verification="UNVERIFIED"), True),
        (PriorDocument(completion="COMPLETE", preliminary="PRELIMINARY"), False),
        (PriorDocument(completion="COMPLETE", by_device=True), False),
        (PriorDocument(verification="VERIFIED", preliminary="PRELIMINARY", by_device=True), True),
        (PriorDocument(completion="PARTIAL", verification="UNVERIFIED"), False),
    ],
)
def test_what_counts_is_what_the_page_says(document: PriorDocument, counts: bool) -> None:
    assert document.counts is counts
