"""The requests that a study fulfils: one item an accession number (PS3.3 §C.17.2, Referenced Request Sequence)."""

from __future__ import annotations

from pydicom import Dataset

from node.report.evidence import Evidence

#: Where a source may name more requests than its own Accession Number (0008,0050) does.
_SEQUENCES = ("ReferencedRequestSequence", "RequestAttributesSequence")
#: Of one request, as Referenced Request Sequence (0040,A370) has it: type 2, then type 3.
_TYPE_2 = (
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
)
_SEQUENCES_OF_REQUEST = (
    "IssuerOfAccessionNumberSequence",
    "OrderPlacerIdentifierSequence",
    "OrderFillerIdentifierSequence",
)


def referenced_requests(evidence: Evidence) -> list[Dataset]:
    """Items of Referenced Request Sequence (0040,A370), one an accession number and issuer, in the source's order.

    What the archive corrected goes before what the source says; a request without an accession number is none.
    """
    source = evidence.source
    corrected = evidence.corrections.get("AccessionNumber")
    before = str(source.get("AccessionNumber") or "")
    named = [source, *(item for keyword in _SEQUENCES for item in source.get(keyword) or ())]
    found: dict[tuple[str, str], Dataset] = {}
    for request in named:
        number = str(request.get("AccessionNumber") or "")
        if corrected is not None and (request is source or number == before):
            number = corrected
        if number:
            key = (number, _issuer(request))
            found[key] = _item(evidence, request, number, found.get(key))
    issued = {number for number, issuer in found if issuer}
    return [item for (number, issuer), item in found.items() if issuer or number not in issued]


def _item(evidence: Evidence, request: Dataset, number: str, known: Dataset | None) -> Dataset:
    """What is known of a request; the same one, named twice by the source, is told by both namings."""
    item = known or Dataset()
    item.StudyInstanceUID = evidence.study_instance_uid
    item.ReferencedStudySequence = []
    item.AccessionNumber = number
    for keyword in _TYPE_2:
        item.setdefault(keyword, "")
        if request.get(keyword) and not item[keyword].value:
            setattr(item, keyword, str(request[keyword].value))
    if "RequestedProcedureCodeSequence" not in item:
        item.RequestedProcedureCodeSequence = list(request.get("RequestedProcedureCodeSequence") or ())
    for keyword in _SEQUENCES_OF_REQUEST:
        if keyword not in item and request.get(keyword):
            item.add(request[keyword])
    return item


def _issuer(request: Dataset) -> str:
    """Who gave the accession number: its local or universal entity ID."""
    issuers = request.get("IssuerOfAccessionNumberSequence") or ()
    return next(
        (str(each.get("LocalNamespaceEntityID") or each.get("UniversalEntityID") or "") for each in issuers), ""
    )
