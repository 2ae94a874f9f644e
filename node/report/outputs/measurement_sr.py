"""A Comprehensive 3D SR with the measurements of each segment (PS3.16 TID 1500)."""

from __future__ import annotations

from collections.abc import Mapping

from highdicom.sr import Comprehensive3DSR
from pydicom import Dataset

from node.report.documents.measurement_report import build_as, unfit
from node.report.evidence import Evidence

__all__ = ["FALLBACKS", "KIND", "NEEDS", "SCOPE", "SERIES_NUMBER", "SHOWN_AS", "build", "unfit"]

KIND = "measurement_sr"
NEEDS = ("seg",)
SHOWN_AS = "SR"
SCOPE = "model"
FALLBACKS: tuple[str, ...] = ("comprehensive_sr", "enhanced_sr", "basic_text_sr", "secondary_capture")
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1001


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:
    """Return the report: preliminary, unverified, and complete for the segments it speaks of.

    Raises:
        Failed: no finding has a segment.
    """
    return build_as(Comprehensive3DSR, evidence, built, kind=KIND, series_number=SERIES_NUMBER)
