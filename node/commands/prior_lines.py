"""Priors for people: a line a study that an archive told of, and for each document beside images, and its findings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: Findings of one document; the others are counted.
_MOST_SHOWN = 20


def candidate_line(candidate: dict[str, Any]) -> str:
    """One study that an archive told of: when it was made and with what, and what became of it."""
    what = " ".join(part for part in (candidate["study_date"], ", ".join(candidate["modalities_in_study"])) if part)
    whence = f"{candidate['study_instance_uid']} at {candidate['archive']}"
    return f"{what} {candidate['standing']}: {candidate['reason']}  [{whence}]"


def document_line(document: dict[str, Any]) -> str:
    """One report, segmentation or document: of which day, how far it stands, who made it, what became of it."""
    said = ", ".join(part for part in (document["standing"], document["made_by"]) if part)
    what = f"{document['study_date']} {document['kind']} {document['title']}".strip()
    what += f" ({said})" if said else ""
    became = document["state"] + (f": {document['reason']}" if document["reason"] else "")
    if document["passages"] and not document["facts"]:
        became += ", not used as history"
    return f"{what} {became}  [{document['sop_instance_uid']}]"


def finding_line(finding: dict[str, Any]) -> str:
    """One finding of a document, with its numbers."""
    words = [finding["laterality"], finding["site"], finding["code"]]
    name = " ".join(each["code_meaning"] for each in words if each is not None)
    numbers = ", ".join(f"{each['name']} {each['value']:g} {each['unit']}" for each in finding["measurements"])
    denied = "NOT " if finding["present"] is False else ""
    return f"{denied}{name}{f': {numbers}' if numbers else ''}"


def lines(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(heading, line) for everything that is told of the priors of a study, and of it as a prior of others."""
    for again in told["read_again"]:
        became = again["state"].replace("_", " ") + (f": {again['reason']}" if again["reason"] else "")
        yield "aside", f"{again['model']} read it again, to be compared with and told to nobody: {became}"
        yield from (("", each) for each in dict.fromkeys(one["sentence"] for one in again["findings"]) if each)
    for candidate in told["prior_candidates"]:
        yield "prior", candidate_line(candidate)
    for document in told["prior_documents"]:
        yield "document", document_line(document)
        for passage in document["passages"]:
            yield "", f"{passage['heading']}: {passage['text']}"
        for finding in document["findings"][:_MOST_SHOWN]:
            yield "", finding_line(finding)
        more = len(document["findings"]) - _MOST_SHOWN
        if more > 0:
            yield "", f"and {more} more"
