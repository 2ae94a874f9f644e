"""A report rests on every source instance and on the Segmentation, each named once, as highdicom would list them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from highdicom.sr.utils import collect_evidence
from pydicom import Dataset

from node.report.composition import compose
from node.report.segments.explicit_vr import encoded
from tests.report.synthetic import AVAILABLE, SCANS, Scan, evidence_on

Series = Callable[[Scan], list[Path]]


@pytest.mark.parametrize("name", ["axial", "reversed"])
def test_the_evidence_of_a_report_is_what_highdicom_collects(name: str, series: Series) -> None:
    evidence = evidence_on(series(SCANS[name]))
    built = compose(evidence, ["measurement_sr"], AVAILABLE, {})
    report = built["measurement_sr"]
    rested_on = [*evidence.sources, built["seg"]]
    study, others = collect_evidence([*rested_on, *rested_on], report, evidence.study_instance_uid)
    expected = Dataset()
    expected.CurrentRequestedProcedureEvidenceSequence = study
    found = Dataset()
    found.CurrentRequestedProcedureEvidenceSequence = report.CurrentRequestedProcedureEvidenceSequence
    assert encoded(found) == encoded(expected)
    assert not others
