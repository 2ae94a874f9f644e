"""When a study counts as complete."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.triage.completeness import Complete, Signals, judge

#: A slow machine is no failure.
bounded = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
QUIET_S, FORCED_S = 60.0, 3600.0
ARRIVED = Signals(since_first_s=100.0, since_last_s=60.0, received=20)


@pytest.mark.parametrize(
    ("signals", "complete", "said"),
    [
        (ARRIVED, Complete.YES, "20 instances, quiet for 60 s"),
        (replace(ARRIVED, since_last_s=59.0), Complete.NO, "59 of 60 s"),
        (replace(ARRIVED, expected=20), Complete.YES, "all 20 expected are here"),
        (replace(ARRIVED, expected=19), Complete.YES, "expected"),
        (replace(ARRIVED, expected=21), Complete.NO, "20 of 21 expected"),
        (replace(ARRIVED, undescribed=1), Complete.NO, "1 instance not described"),
        (replace(ARRIVED, received=0), Complete.NO, "no instance"),
        (replace(ARRIVED, since_last_s=5.0, expected=20), Complete.NO, "5 of 60 s"),
        (replace(ARRIVED, since_last_s=5.0, since_first_s=3600.0), Complete.FORCED, "still arrive"),
        (replace(ARRIVED, since_first_s=3600.0, expected=21), Complete.FORCED, "20 of 21 expected"),
        (replace(ARRIVED, since_first_s=3600.0, undescribed=2), Complete.FORCED, "2 instances not described"),
        (replace(ARRIVED, since_last_s=1.0, force_requested=True), Complete.FORCED, "by hand"),
        (replace(ARRIVED, force_requested=True, expected=21), Complete.FORCED, "20 of 21 expected"),
        (replace(ARRIVED, since_first_s=9999.0), Complete.YES, "quiet"),
    ],
)
def test_the_answer_and_its_reason(signals: Signals, complete: Complete, said: str) -> None:
    verdict = judge(signals, quiet_s=QUIET_S, forced_s=FORCED_S)
    assert verdict.complete is complete
    assert said in verdict.reason


seconds = st.floats(0, 10_000, allow_nan=False)


@bounded
@given(
    first=seconds,
    last=seconds,
    received=st.integers(0, 30),
    undescribed=st.integers(0, 3),
    expected=st.none() | st.integers(0, 30),
    quiet_s=st.floats(1, 5000),
    forced_s=st.floats(1, 5000),
)
def test_asking_again_when_due_moves_on_and_nothing_waits_beyond_the_forced_end(
    first, last, received, undescribed, expected, quiet_s, forced_s
) -> None:
    signals = Signals(
        since_first_s=max(first, last),
        since_last_s=min(first, last),
        received=received,
        undescribed=undescribed,
        expected=expected,
    )
    waited_s, verdict = 0.0, judge(signals, quiet_s=quiet_s, forced_s=forced_s)
    for _ in range(3):
        if verdict.complete is not Complete.NO:
            break
        assert verdict.due_in_s > 0
        waited_s += verdict.due_in_s
        later = replace(
            signals,
            since_first_s=signals.since_first_s + waited_s + 1e-6,
            since_last_s=signals.since_last_s + waited_s + 1e-6,
        )
        verdict = judge(later, quiet_s=quiet_s, forced_s=forced_s)
    assert verdict.complete is not Complete.NO
    assert verdict.due_in_s == 0
    assert waited_s <= max(0.0, forced_s - signals.since_first_s) + 1e-3
