from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.finding import Code
from node.domain.notice import Flag, FlaggedFinding
from node.domain.patient import Patient
from node.domain.priority import Lane
from node.triage.telling import FAILED, RANK, URGENT, WITHDRAWN, why_tell

BLEED = FlaggedFinding(model="m", code=Code("1", "SCT", "Bleed"), present=True)
MEASURED = FlaggedFinding(model="m", code=Code("2", "SCT", "Brain"))
QUIET = Flag(study_instance_uid="1.2", accession_number="A")
FOUND = replace(QUIET, findings=(BLEED,))
URGENT_FOUND = replace(FOUND, lane=Lane.URGENT)
FAILED_MODEL = replace(QUIET, failures=(("m", "out of memory"),))


def why(before: Flag | None, after: Flag, *when: str, lanes: tuple[Lane, ...] = tuple(Lane), step: float = 10) -> str:
    return why_tell(before, after, when=when, lanes=lanes, score_step=step)


@pytest.mark.parametrize(
    ("before", "after", "when", "told"),
    [
        (None, QUIET, RANK, ""),
        (None, replace(QUIET, findings=(MEASURED,)), RANK, ""),
        (None, FOUND, RANK, "something new was found"),
        (None, FOUND, URGENT, ""),
        (replace(FOUND, findings=(), lane=Lane.URGENT), URGENT_FOUND, URGENT, "something new was found"),
        (None, replace(QUIET, lane=Lane.STAT), URGENT, "lane ROUTINE → STAT"),
        (None, replace(QUIET, lane=Lane.STAT, ordered_lane=Lane.STAT), RANK, ""),
        (None, replace(QUIET, score=100, ordered_score=100), RANK, ""),
        (None, replace(QUIET, score=10), RANK, "score 0 → 10"),
        (replace(QUIET, score=5), replace(QUIET, score=14.9), RANK, ""),
        (replace(QUIET, score=50), QUIET, RANK, "score 50 → 0"),
        (replace(QUIET, score=50), QUIET, URGENT, ""),
        (URGENT_FOUND, FOUND, URGENT, "lane URGENT → ROUTINE"),
        (FOUND, QUIET, WITHDRAWN, "a finding that was told stands no longer"),
        (FOUND, QUIET, FAILED, ""),
        (None, FAILED_MODEL, FAILED, "a model did not read the study"),
        (FAILED_MODEL, QUIET, FAILED, "a model that had not read the study has read it"),
        (None, FAILED_MODEL, RANK, ""),
        (FOUND, replace(FOUND, accession_number="B"), URGENT, "the accession number has changed"),
        (FOUND, replace(FOUND, patient=Patient(patient_id="2")), URGENT, "the patient's identity was corrected"),
    ],
)
def test_each_route_is_told_what_it_asks_for(before: Flag | None, after: Flag, when: str, told: str) -> None:
    assert why(before, after, when) == told


def test_a_route_for_one_lane_hears_of_studies_that_enter_and_leave_it() -> None:
    stat, urgent = replace(QUIET, lane=Lane.STAT), replace(QUIET, lane=Lane.URGENT)
    assert why(None, urgent, RANK, lanes=(Lane.STAT,)) == ""
    assert why(urgent, stat, RANK, lanes=(Lane.STAT,)) == "lane URGENT → STAT"
    assert why(stat, urgent, RANK, lanes=(Lane.STAT,)) == "lane STAT → URGENT"
    assert why(urgent, QUIET, RANK, lanes=(Lane.STAT,)) == ""
    assert why(URGENT_FOUND, urgent, RANK, WITHDRAWN, lanes=(Lane.STAT,)) == "a finding that was told stands no longer"


_FLAGS = st.builds(
    Flag,
    study_instance_uid=st.just("1.2"),
    lane=st.sampled_from(Lane),
    score=st.floats(0, 200),
    findings=st.lists(st.sampled_from((BLEED, MEASURED)), max_size=2).map(tuple),
    failures=st.sampled_from(((), (("m", "x"),))),
)


@given(_FLAGS, st.sets(st.sampled_from((RANK, URGENT, FAILED, WITHDRAWN))), st.sets(st.sampled_from(Lane)))
def test_what_was_told_is_not_told_again(flag: Flag, when: set[str], lanes: set[Lane]) -> None:
    assert why(flag, flag, *when, lanes=tuple(lanes), step=0) == ""
