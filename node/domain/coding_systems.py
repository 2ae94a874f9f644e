"""Coding systems: the one table from what other standards call them to the prefix of `Fact.coded`.

The prefixes are DICOM's coding scheme designators (PS3.16 Table 8-1) where it has one: SCT, LN, I10. ICD-10 and its
national modifications share I10, since rules speak of categories (I26), which they have in common. ATC is not DICOM's,
and RXN is short for RxNorm.
"""

from __future__ import annotations

import re

#: FHIR: `Coding.system`.
FROM_URI = {
    "http://snomed.info/sct": "SCT",
    "http://loinc.org": "LN",
    "http://hl7.org/fhir/sid/icd-10": "I10",
    "http://hl7.org/fhir/sid/icd-10-cm": "I10",
    "http://hl7.org/fhir/sid/icd-10-de": "I10",
    "http://fhir.de/CodeSystem/bfarm/icd-10-gm": "I10",
    "http://fhir.de/CodeSystem/dimdi/icd-10-gm": "I10",
    "http://www.whocc.no/atc": "ATC",
    "http://fhir.de/CodeSystem/bfarm/atc": "ATC",
    "http://fhir.de/CodeSystem/dimdi/atc": "ATC",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RXN",
    "urn:oid:2.16.840.1.113883.6.96": "SCT",
    "urn:oid:2.16.840.1.113883.6.1": "LN",
    "urn:oid:2.16.840.1.113883.6.3": "I10",
    "urn:oid:2.16.840.1.113883.6.90": "I10",
    "urn:oid:2.16.840.1.113883.6.73": "ATC",
    "urn:oid:2.16.840.1.113883.6.88": "RXN",
}
#: HL7 v2: CWE-3, Name of Coding System (table 0396).
FROM_HL7 = {
    "SCT": "SCT",
    "LN": "LN",
    "I10": "I10",
    "I10C": "I10",
    "ICD10": "I10",
    "ICD10CM": "I10",
    "ICD10GM": "I10",
    "ATC": "ATC",
    "RXNORM": "RXN",
}
#: All that `Fact.coded` may begin with.
PREFIXES = frozenset((*FROM_URI.values(), *FROM_HL7.values()))

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-/+*!]{0,39}")


def coded(prefix: str | None, code: str) -> str:
    """Return "prefix:code" for `Fact.coded`; empty where the table lacks the system, or the code has not the form."""
    return f"{prefix}:{code}" if prefix in PREFIXES and _CODE.fullmatch(code) else ""


def is_coded(text: str) -> bool:
    """Whether a text has the form of `Fact.coded`."""
    prefix, _, code = text.partition(":")
    return coded(prefix, code) == text != ""
