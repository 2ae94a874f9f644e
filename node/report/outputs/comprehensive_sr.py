"""The measurements of each segment as a Comprehensive SR, for who does not store Comprehensive 3D SR."""

from __future__ import annotations

from collections.abc import Mapping

from highdicom.sr import ComprehensiveSR
from pydicom import Dataset

from node.report.documents.measurement_report import build_as, unfit
from node.report.evidence import Evidence

__all__ = ["FALLBACKS", "KIND", "NEEDS", "SCOPE", "SERIES_NUMBER", "SHOWN_AS", "build", "unfit"]

KIND = "comprehensive_sr"
NEEDS = ("seg",)
SHOWN_AS = "SR"
SCOPE = "model"
FALLBACKS: tuple[str, ...] = ("enhanced_sr", "basic_text_sr", "secondary_capture")
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1011


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:
    """Return the report: preliminary, unverified, and complete for the segments it speaks of.

    Raises:
        Failed: no finding has a segment.
    """
    return build_as(ComprehensiveSR, evidence, built, kind=KIND, series_number=SERIES_NUMBER)
