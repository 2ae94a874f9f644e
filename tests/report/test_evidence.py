"""Evidence that does not belong together is refused before anything is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from node.domain.finding import MILLILITRE, VOLUME, Measurement, Segment
from node.errors import Failed
from node.report.evidence import Evidence, result_uid
from tests.report.synthetic import ANATOMY, BRAIN, SCANS, Scan, card, evidence_on


@pytest.fixture
def evidence(series: Callable[[Scan], list[Path]]) -> Evidence:
    return evidence_on(series(SCANS["oblique"]))


def test_it_cannot_be_changed(evidence: Evidence) -> None:
    with pytest.raises(FrozenInstanceError):
        evidence.run_number = 2  # type: ignore[misc]


def test_an_empty_mask_fails(evidence: Evidence) -> None:
    with pytest.raises(Failed, match="mask is empty"):
        replace(evidence, mask=np.zeros_like(evidence.mask), findings=())


def test_a_mask_of_another_shape_fails(evidence: Evidence) -> None:
    with pytest.raises(Failed, match="differ in shape"):
        replace(evidence, mask=evidence.mask[:, :, 1:])


def test_sources_in_the_wrong_order_fail(evidence: Evidence) -> None:
    with pytest.raises(Failed, match="does not lie where"):
        replace(evidence, sources=evidence.sources[::-1])


def test_a_value_without_a_segment_fails(evidence: Evidence) -> None:
    with pytest.raises(Failed, match="value 3"):
        replace(evidence, mask=evidence.mask * 3, findings=())


def test_a_finding_on_an_empty_segment_fails(evidence: Evidence) -> None:
    with pytest.raises(Failed, match="segment 2 of a finding is empty"):
        replace(evidence, findings=(replace(evidence.findings[0], segment_number=2),))


def test_a_volume_that_is_not_the_masks_fails(evidence: Evidence) -> None:
    [found] = evidence.findings
    volume_ml = found.measurements[0].value
    wrong = Measurement(quantity=VOLUME, value=volume_ml * 1.002, unit=MILLILITRE)
    with pytest.raises(Failed, match="but the mask holds"):
        replace(evidence, findings=(replace(found, measurements=(wrong,)),))
    near = Measurement(quantity=VOLUME, value=volume_ml * 1.0005, unit=MILLILITRE)
    replace(evidence, findings=(replace(found, measurements=(near,)),))


def test_a_mask_of_another_type_is_our_own_mistake(evidence: Evidence) -> None:
    with pytest.raises(ValueError, match="uint8"):
        replace(evidence, mask=evidence.mask.astype(bool))


def test_a_naive_finish_time_is_our_own_mistake(evidence: Evidence) -> None:
    with pytest.raises(ValueError, match="aware"):
        replace(evidence, finished_at=datetime(2026, 11, 21))  # noqa: DTZ001


def test_a_result_uid_depends_on_all_that_went_in() -> None:
    parts: dict[str, str | int] = {
        "study_instance_uid": "1.2",
        "content_digest": "c",
        "model_digest": "m",
        "card_digest": "d",
        "kind": "seg",
        "profile": "standard",
        "series_instance_uid": "1.2.3",
        "run_number": 1,
    }
    uids = {result_uid(**parts)}
    for name, value in parts.items():
        uids.add(result_uid(**(parts | {name: 2 if isinstance(value, int) else value + "0"})))
    assert len(uids) == len(parts) + 1


def test_the_largest_slice_has_most_pixels_of_that_segment(series: Callable[[Scan], list[Path]]) -> None:
    mask = np.zeros((4, 3, 3), np.uint8)
    mask[1, :2] = 1
    mask[2, :1] = 1
    mask[3] = 2
    two = card(*(Segment(number=number, label="Part", category=ANATOMY, type=BRAIN) for number in (1, 2)))
    one = evidence_on(series(Scan(slices=4, rows=3, columns=3)), (mask == 1).astype(np.uint8))
    evidence = replace(one, mask=mask, card=two)
    assert (evidence.largest_slice(1), evidence.largest_slice(2)) == (1, 3)
