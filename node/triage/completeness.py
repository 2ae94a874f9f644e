"""Is a study complete? DICOM has no last instance, so silence decides, and a limit to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Complete(StrEnum):
    """The answer."""

    NO = "no"
    YES = "yes"
    #: Not known to be complete, but not waited for any longer.
    FORCED = "forced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What is known of the instances that no closing has looked at yet, and of the study."""

    #: Seconds since the first of them arrived: of a closed study that is the first late one.
    since_first_s: float
    #: Seconds since the last one arrived, over all associations.
    since_last_s: float
    #: Instances held, of the whole study.
    received: int
    #: Of these, how many wait to be described.
    undescribed: int = 0
    #: How many an archive says there are, or `None`.
    expected: int | None = None
    #: A person wants it closed now.
    force_requested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer, why, and when to ask again."""

    complete: Complete
    reason: str
    #: Seconds until the answer can change by time alone; 0 unless it is no.
    due_in_s: float = 0.0


def judge(signals: Signals, *, quiet_s: float, forced_s: float) -> Verdict:
    """Say whether the study is closed now.

    Complete: nothing new for `quiet_s`, every instance described, none missing of an expected count. A
    count that is reached does not shorten the quiet time: an archive that receives the study at the
    same moment counts only what it has so far. Forced: a person wants it, or `forced_s` have passed.
    """
    lacking = _lacking(signals)
    if signals.force_requested:
        return Verdict(complete=Complete.FORCED, reason=f"closed by hand{_but(lacking)}")
    quiet_in_s = quiet_s - signals.since_last_s
    forced_in_s = forced_s - signals.since_first_s
    if quiet_in_s <= 0 and not lacking:
        counted = "" if signals.expected is None else f", all {signals.expected} expected are here"
        return Verdict(
            complete=Complete.YES, reason=f"{_instances(signals.received)}, quiet for {quiet_s:g} s{counted}"
        )
    if forced_in_s <= 0:
        still = lacking or "instances still arrive"
        return Verdict(complete=Complete.FORCED, reason=f"closed {forced_s:g} s after the first instance, but {still}")
    if quiet_in_s > 0:
        reason = f"{_instances(signals.received)}, quiet for {signals.since_last_s:.0f} of {quiet_s:g} s"
        return Verdict(complete=Complete.NO, reason=reason, due_in_s=min(quiet_in_s, forced_in_s))
    return Verdict(complete=Complete.NO, reason=f"quiet, but {lacking}", due_in_s=forced_in_s)


def _lacking(signals: Signals) -> str:
    """What stands against completeness whatever the quiet time; empty if nothing."""
    if signals.received == 0:
        return "no instance is here"
    if signals.undescribed:
        return f"{_instances(signals.undescribed)} not described yet"
    if signals.expected is not None and signals.received < signals.expected:
        return f"{signals.received} of {signals.expected} expected instances are here"
    return ""


def _but(lacking: str) -> str:
    return f", but {lacking}" if lacking else ""


def _instances(count: int) -> str:
    return f"{count} instance{'' if count == 1 else 's'}"
