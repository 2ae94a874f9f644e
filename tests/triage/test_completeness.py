"""When a study counts as complete."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.triage.completeness import Complete, Ground, Limits, Signals, judge

#: A slow machine is no failure.
bounded = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LIMITS = Limits(quiet_s=60.0, forced_s=3600.0, series_quiet_s=15.0)
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
    verdict = judge(signals, LIMITS)
    assert verdict.complete is complete
    assert said in verdict.reason


EARLY = replace(ARRIVED, since_last_s=2.0)
PERFORMED = replace(EARLY, listed=20, listed_here=20)
REQUIRED = replace(EARLY, required=("T1", "FLAIR"), required_since_last_s=15.0)
MISSING = replace(REQUIRED, required_missing=("FLAIR",), required_since_last_s=0.0)


@pytest.mark.parametrize(
    ("signals", "complete", "ground", "said"),
    [
        (PERFORMED, Complete.YES, Ground.PERFORMED, "all 20 instances that it lists are here"),
        (replace(PERFORMED, received=25), Complete.YES, Ground.PERFORMED, "completed its procedure step"),
        (replace(PERFORMED, undescribed=1), Complete.NO, Ground.QUIET, "2 of 60 s"),
        (replace(PERFORMED, steps_in_progress=1), Complete.NO, Ground.QUIET, "2 of 60 s"),
        (replace(PERFORMED, closed_before=True), Complete.NO, Ground.QUIET, "2 of 60 s"),
        (replace(PERFORMED, expected=21), Complete.NO, Ground.QUIET, "2 of 60 s"),
        (replace(PERFORMED, listed_here=19, partly_listed=20, partly_here=19), Complete.NO, Ground.QUIET, "2 of 60 s"),
        (replace(PERFORMED, required=("T1",), required_missing=("T1",)), Complete.NO, Ground.QUIET, "2 of 60 s"),
        (
            replace(PERFORMED, discontinued=("(110513, DCM)",)),
            Complete.YES,
            Ground.PERFORMED,
            "discontinued a procedure step (110513, DCM)",
        ),
        (replace(ARRIVED, steps_in_progress=1), Complete.YES, Ground.QUIET, "still in progress"),
        (replace(ARRIVED, discontinued=("",)), Complete.YES, Ground.QUIET, "discontinued a procedure step"),
        (replace(EARLY, discontinued=("(110513, DCM)",)), Complete.NO, Ground.QUIET, "2 of 60 s"),
        (replace(ARRIVED, listed=30, listed_here=20), Complete.YES, Ground.QUIET, "of 10 instances"),
        (
            replace(ARRIVED, listed=30, listed_here=29, partly_listed=10, partly_here=9),
            Complete.NO,
            Ground.QUIET,
            "9 of 10 instances are here of series that the modality lists",
        ),
        (REQUIRED, Complete.YES, Ground.REQUIRED, "every required series (T1, FLAIR) is here and quiet for 15 s"),
        (replace(REQUIRED, required_since_last_s=14.0), Complete.NO, Ground.QUIET, "2 of 60 s"),
        (replace(REQUIRED, undescribed=1), Complete.NO, Ground.QUIET, "2 of 60 s"),
        (replace(REQUIRED, closed_before=True), Complete.NO, Ground.QUIET, "2 of 60 s"),
        (MISSING, Complete.NO, Ground.QUIET, "2 of 60 s"),
        (replace(MISSING, since_last_s=60.0), Complete.NO, Ground.QUIET, "no series that is required as FLAIR"),
        (replace(MISSING, since_first_s=3600.0), Complete.FORCED, Ground.TIME_LIMIT, "required as FLAIR"),
    ],
)
def test_what_others_tell_shortens_or_lengthens_the_wait(
    signals: Signals, complete: Complete, ground: Ground, said: str
) -> None:
    verdict = judge(signals, LIMITS)
    assert (verdict.complete, verdict.ground) == (complete, ground)
    assert said in verdict.reason


def test_only_the_time_limit_leaves_a_study_incomplete() -> None:
    lacking = replace(ARRIVED, since_first_s=3600.0, expected=21, partly_listed=9, partly_here=8)
    assert judge(lacking, LIMITS).missing == (
        "20 of 21 expected instances are here; 8 of 9 instances are here of series that the modality lists (MPPS)"
    )
    assert judge(replace(lacking, force_requested=True), LIMITS).missing == ""
    assert judge(replace(lacking, since_first_s=3599.0), LIMITS).missing == ""
    assert judge(replace(ARRIVED, since_first_s=3600.0, since_last_s=1.0), LIMITS).missing == ""


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_step_that_never_ends_changes_no_answer_of_the_quiet_time(count: int) -> None:
    for since_last_s in (0.0, 59.0, 60.0, 4000.0):
        signals = replace(ARRIVED, since_last_s=since_last_s, since_first_s=max(100.0, since_last_s))
        without, beside = judge(signals, LIMITS), judge(replace(signals, steps_in_progress=count), LIMITS)
        assert (without.complete, without.due_in_s) == (beside.complete, beside.due_in_s)


seconds = st.floats(0, 10_000, allow_nan=False)
some_signals = st.builds(
    Signals,
    since_first_s=seconds,
    since_last_s=seconds,
    received=st.integers(0, 30),
    undescribed=st.integers(0, 3),
    expected=st.none() | st.integers(0, 30),
    closed_before=st.booleans(),
    steps_in_progress=st.integers(0, 2),
    listed=st.integers(0, 30),
    listed_here=st.integers(0, 30),
    partly_listed=st.integers(0, 9),
    partly_here=st.integers(0, 9),
    discontinued=st.sampled_from([(), ("",), ("(110513, DCM)",)]),
    required=st.sampled_from([(), ("T1",), ("T1", "FLAIR")]),
    required_missing=st.sampled_from([(), ("T1",)]),
    required_since_last_s=seconds,
)
some_limits = st.builds(
    Limits, quiet_s=st.floats(1, 5000), forced_s=st.floats(1, 5000), series_quiet_s=st.floats(0.5, 100)
)


def later(signals: Signals, by_s: float) -> Signals:
    return replace(
        signals,
        since_first_s=signals.since_first_s + by_s,
        since_last_s=signals.since_last_s + by_s,
        required_since_last_s=signals.required_since_last_s + by_s,
    )


@bounded
@given(signals=some_signals, limits=some_limits)
def test_asking_again_when_due_moves_on_and_nothing_waits_beyond_the_forced_end(
    signals: Signals, limits: Limits
) -> None:
    first_s, last_s = max(signals.since_first_s, signals.since_last_s), min(signals.since_first_s, signals.since_last_s)
    signals = replace(signals, since_first_s=first_s, since_last_s=last_s)
    waited_s, verdict = 0.0, judge(signals, limits)
    for _ in range(4):
        if verdict.complete is not Complete.NO:
            break
        assert verdict.due_in_s > 0
        waited_s += verdict.due_in_s
        verdict = judge(later(signals, waited_s + 1e-6), limits)
    assert verdict.complete is not Complete.NO
    assert verdict.due_in_s == 0
    assert waited_s <= max(0.0, limits.forced_s - signals.since_first_s) + 1e-3


@bounded
@given(signals=some_signals, limits=some_limits)
def test_nothing_is_complete_while_something_is_known_to_be_missing(signals: Signals, limits: Limits) -> None:
    verdict = judge(signals, limits)
    if verdict.complete is Complete.YES:
        assert signals.undescribed == 0
        assert signals.received >= max(1, signals.expected or 0)
        assert signals.partly_here >= signals.partly_listed
        assert not signals.required_missing
    assert verdict.reason
    assert bool(verdict.missing) <= (verdict.ground is Ground.TIME_LIMIT)


@bounded
@given(signals=some_signals, limits=some_limits)
def test_without_a_word_from_others_only_silence_and_the_limit_decide(signals: Signals, limits: Limits) -> None:
    alone = Signals(
        since_first_s=signals.since_first_s, since_last_s=signals.since_last_s, received=max(1, signals.received)
    )
    verdict = judge(alone, limits)
    quiet, over = alone.since_last_s >= limits.quiet_s, alone.since_first_s >= limits.forced_s
    expected = Complete.YES if quiet else Complete.FORCED if over else Complete.NO
    assert verdict.complete is expected
