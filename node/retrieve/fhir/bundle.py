"""Searchset Bundles (FHIR R4, §3.1.1): pages, matches, and what came with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from node.errors import Failed
from node.retrieve.fhir.elements import Json, identifiers, record, records
from node.retrieve.fhir.rest import Answer, Keys, Rest

_REFERENCE = re.compile(
    r"(?:(?P<base>.+)/)?(?P<type>[A-Z][A-Za-z]{1,40})/(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/.+)?"
)
#: Reasons why a resource of an answer is not read.
ANOTHER_PATIENT = "of another patient"
ANOTHER_RESOURCE = "of another kind"


@dataclass
class Found:
    """All pages of one search."""

    base: str
    resource: str
    matches: list[Json] = field(default_factory=list)
    #: What came with them, by reference and by full URL; nothing else is looked up.
    included: dict[str, Json] = field(default_factory=dict)
    #: How many resources were not read, by reason.
    left_out: dict[str, int] = field(default_factory=dict)
    #: There are pages that were not read.
    cut_off: bool = False
    etag: str = ""
    unchanged: bool = False

    def drop(self, reason: str) -> None:
        """Count a resource that is not read."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def resolved(self, reference: object, within: Json) -> Json:
        """The resource that a Reference means, contained or in the same answer; empty where it is neither."""
        target = record(reference).get("reference")
        if not isinstance(target, str):
            return {}
        if target.startswith("#"):
            return next((each for each in records(within.get("contained")) if f"#{each.get('id')}" == target), {})
        return self.included.get(target) or self.included.get(_relative(target, self.base), {})


def search(rest: Rest, base: str, resource: str, keys: Keys, *, post: bool, etag: str, most_pages: int) -> Found:
    """Search, and read page after page.

    Raises:
        Failed, Transient: as `Rest`; a page that is no Bundle, or lies elsewhere, spoils the whole.
    """
    found = Found(base, resource)
    answer = rest.search(resource, keys, post=post, etag=etag)
    if answer.document is None:
        found.unchanged, found.etag = True, etag
        return found
    seen: set[str] = set()
    for page in range(1, most_pages + 1):
        _read(answer, found)
        following = _next(answer)
        if not following:
            # An ETag is that of the first page, and says nothing of others.
            found.etag = answer.etag if page == 1 else ""
            return found
        if page < most_pages:
            answer = rest.follow(following, seen)
    found.cut_off = True
    return found


def is_about(resource: Json, found: Found, patient: str, system: str, number: str) -> bool:
    """Whether a resource says that it is about the patient whom the server calls `patient`, and nobody else."""
    subject = record(resource.get("subject") or resource.get("patient"))
    named = list(identifiers(subject.get("identifier")))
    if any(each[0] == system and each[1] != number for each in named):
        return False
    target = subject.get("reference")
    if not isinstance(target, str):
        return (system, number) in named
    if target.startswith("#"):
        contained = found.resolved(subject, resource)
        return contained.get("resourceType") == "Patient" and (system, number) in identifiers(
            contained.get("identifier")
        )
    return _relative(target, found.base) == f"Patient/{patient}"


def _read(answer: Answer, found: Found) -> None:
    """Take a page's entries.

    Raises:
        Failed: it is no searchset.
    """
    document = answer.document or {}
    if document.get("resourceType") != "Bundle" or document.get("type") != "searchset":
        raise Failed("answers a search with something else than a searchset")
    for entry in records(document.get("entry", [])):
        resource, mode = record(entry.get("resource")), record(entry.get("search")).get("mode")
        kind = resource.get("resourceType")
        if mode == "outcome" or kind == "OperationOutcome":
            continue
        if mode == "include":
            for name in (f"{kind}/{resource.get('id')}", entry.get("fullUrl")):
                if isinstance(name, str):
                    found.included[name] = resource
        elif kind == found.resource:
            found.matches.append(resource)
        else:
            found.drop(ANOTHER_RESOURCE)


def _next(answer: Answer) -> str:
    links = records((answer.document or {}).get("link", []))
    addresses: Iterator[object] = (each.get("url") for each in links if each.get("relation") == "next")
    return next((each for each in addresses if isinstance(each, str) and each), "")


def _relative(reference: str, base: str) -> str:
    """Type/id of a literal reference into the same server; empty of any other."""
    parts = _REFERENCE.fullmatch(reference)
    if parts is None or parts["base"] not in (None, base):
        return ""
    return f"{parts['type']}/{parts['id']}"
