"""The archive's values over the source's, with the source's kept beside them (PS3.3 §C.12.1)."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.valuerep import DT

from node.report.coding import fitted
from node.report.evidence import Evidence
from node.report.zone import moment

#: Reason for the Attribute Modification (0400,0565): reconciliation with who masters patient and order.
_COERCE = "COERCE"


def correct(dataset: Dataset, evidence: Evidence) -> None:
    """Write `evidence.corrections` over the dataset, in place; what they replace goes to Original Attributes Sequence.

    Only what differs is written. A value that was absent before is no original and is not listed.
    """
    before = Dataset()
    for keyword, value in sorted(evidence.corrections.items()):
        was = dataset.get(keyword)
        if str(was or "") == value:
            continue
        if was is not None:
            before.add(dataset[keyword])
            del dataset[keyword]
        setattr(dataset, keyword, value)
    if not len(before):
        return
    item = Dataset()
    item.ModifyingSystem = fitted(evidence.corrected_by) or "Matins"
    item.ReasonForTheAttributeModification = _COERCE
    item.AttributeModificationDateTime = DT(moment(evidence))
    item.SourceOfPreviousValues = fitted(str(evidence.source.get("InstitutionName") or ""))
    item.ModifiedAttributesSequence = [before]
    dataset.OriginalAttributesSequence = [*dataset.get("OriginalAttributesSequence", ()), item]
