"""How far the radiologist's own report of a study is."""

from __future__ import annotations

from enum import StrEnum


class ReportState(StrEnum):
    """As HL7 v2 OBR-25 (table 0123) and FHIR DiagnosticReport.status tell it, in their common steps."""

    #: Nobody has read it, as far as anybody told.
    UNREAD = "unread"
    #: Somebody is reading it: a UPS IN PROGRESS, OBR-25 I or S.
    BEING_READ = "being read"
    #: A report that is not signed: OBR-25 P or R, FHIR preliminary. It goes on being ranked.
    PRELIMINARY = "preliminary"
    #: Signed: OBR-25 F or C, FHIR final, amended, corrected; a UPS COMPLETED; `matins read`.
    FINAL = "final"


#: HL7 v2 table 0123, Result Status → state; what is not here says nothing about a report.
FROM_OBR_25 = {
    "I": ReportState.BEING_READ,
    "S": ReportState.BEING_READ,
    "A": ReportState.PRELIMINARY,
    "P": ReportState.PRELIMINARY,
    "R": ReportState.PRELIMINARY,
    "C": ReportState.FINAL,
    "F": ReportState.FINAL,
}
#: FHIR R4 DiagnosticReport.status → state.
FROM_DIAGNOSTIC_REPORT = {
    "registered": ReportState.UNREAD,
    "partial": ReportState.PRELIMINARY,
    "preliminary": ReportState.PRELIMINARY,
    "final": ReportState.FINAL,
    "amended": ReportState.FINAL,
    "corrected": ReportState.FINAL,
    "appended": ReportState.FINAL,
}
