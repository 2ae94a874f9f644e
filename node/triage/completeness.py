"""Is a study complete? DICOM has no last instance, so silence decides, what others tell of it, and a limit to both."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Complete(StrEnum):
    """The answer."""

    NO = "no"
    YES = "yes"
    #: Not known to be complete, but not waited for any longer.
    FORCED = "forced"


class Ground(StrEnum):
    """What the answer rests on."""

    #: Nothing new has come for long enough, or not yet.
    QUIET = "quiet"
    #: The modality says that it is through, and all that it lists is here.
    PERFORMED = "performed"
    #: Every series that the site requires is here.
    REQUIRED = "required"
    PERSON = "person"
    TIME_LIMIT = "time limit"


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
    #: It has been closed before: what comes now is late, and only silence says that no more does.
    closed_before: bool = False
    #: Procedure steps of the modality (MPPS) that are IN PROGRESS.
    steps_in_progress: int = 0
    #: Instances that its COMPLETED steps list, and how many of them are here.
    listed: int = 0
    listed_here: int = 0
    #: The same of those series only that are here in part.
    partly_listed: int = 0
    partly_here: int = 0
    #: Reasons of its DISCONTINUED steps, as shown.
    discontinued: tuple[str, ...] = ()
    #: Names of the series that the site requires, and of those of them that are not here.
    required: tuple[str, ...] = ()
    required_missing: tuple[str, ...] = ()
    #: Seconds since the last instance of any required series arrived; of several that meet it, the quietest counts.
    required_since_last_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The site's patience, seconds."""

    quiet_s: float
    forced_s: float
    series_quiet_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer, why, and when to ask again."""

    complete: Complete
    reason: str
    ground: Ground = Ground.QUIET
    #: What the study lacks that its time limit closes: no model reads it then. Empty otherwise.
    missing: str = ""
    #: Seconds until the answer can change by time alone; 0 unless it is no.
    due_in_s: float = 0.0


def judge(signals: Signals, limits: Limits) -> Verdict:
    """Say whether the study is closed now.

    Complete: nothing new for `quiet_s`, every instance described, and nothing missing of what is known to belong to it:
    an archive's count, series that a completed procedure step lists and that are here in part, series that the site
    requires. A count that is reached does not shorten the quiet time: an archive that receives the study at the same
    moment counts only what it has so far.

    Complete before that, at the first closing: the modality has completed every step and all that it lists is here; or
    every required series is here and quiet for `series_quiet_s`. A step IN PROGRESS stands against the first alone and
    never lengthens the quiet time, for many are never ended. A discontinued one shortens nothing: most are begun again.

    Forced: a person wants it, or `forced_s` have passed.
    """
    missing = _missing(signals)
    lacking = _lacking(signals) or missing
    if signals.force_requested:
        reason = f"closed by hand{_but(lacking)}"
        return Verdict(complete=Complete.FORCED, reason=reason, ground=Ground.PERSON)
    shortcut = None if lacking or signals.closed_before else _shortcut(signals, limits)
    if shortcut is not None:
        return shortcut
    quiet_in_s = limits.quiet_s - signals.since_last_s
    forced_in_s = limits.forced_s - signals.since_first_s
    if quiet_in_s <= 0 and not lacking:
        reason = f"{_instances(signals.received)}, quiet for {limits.quiet_s:g} s{_counted(signals)}{_noted(signals)}"
        return Verdict(complete=Complete.YES, reason=reason)
    if forced_in_s <= 0:
        still = lacking or "instances still arrive"
        return Verdict(
            complete=Complete.FORCED,
            reason=f"closed {limits.forced_s:g} s after the first instance, but {still}{_noted(signals)}",
            ground=Ground.TIME_LIMIT,
            missing=missing,
        )
    if quiet_in_s > 0:
        reason = f"{_instances(signals.received)}, quiet for {signals.since_last_s:.0f} of {limits.quiet_s:g} s"
        due_in_s = min(quiet_in_s, forced_in_s, _required_in_s(signals, limits, lacking))
        return Verdict(complete=Complete.NO, reason=reason, due_in_s=due_in_s)
    return Verdict(complete=Complete.NO, reason=f"quiet, but {lacking}", due_in_s=forced_in_s)


def _shortcut(signals: Signals, limits: Limits) -> Verdict | None:
    """The answer that need not wait for the quiet time, if there is one."""
    if signals.listed and signals.listed_here >= signals.listed and not signals.steps_in_progress:
        reason = (
            "the modality completed its procedure step (MPPS) and"
            f" all {_instances(signals.listed)} that it lists are here{_counted(signals)}{_discontinued(signals)}"
        )
        return Verdict(complete=Complete.YES, reason=reason, ground=Ground.PERFORMED)
    if signals.required and signals.required_since_last_s >= limits.series_quiet_s:
        names = ", ".join(signals.required)
        reason = f"every required series ({names}) is here and quiet for {limits.series_quiet_s:g} s{_noted(signals)}"
        return Verdict(complete=Complete.YES, reason=reason, ground=Ground.REQUIRED)
    return None


def _required_in_s(signals: Signals, limits: Limits, lacking: str) -> float:
    """Seconds until the required series have been quiet for long enough."""
    if lacking or signals.closed_before or not signals.required:
        return float("inf")
    return limits.series_quiet_s - signals.required_since_last_s


def _lacking(signals: Signals) -> str:
    """What of the instances that are here stands against completeness whatever the quiet time; empty if nothing."""
    if signals.received == 0:
        return "no instance is here"
    if signals.undescribed:
        return f"{_instances(signals.undescribed)} not described yet"
    return ""


def _missing(signals: Signals) -> str:
    """What is known to belong to the study and is not here; empty if nothing.

    A series of which nothing came is not missing because a procedure step lists it: not every series is sent here.
    """
    parts = []
    if signals.expected is not None and signals.received < signals.expected:
        parts.append(f"{signals.received} of {signals.expected} expected instances are here")
    if signals.partly_here < signals.partly_listed:
        told = f"{signals.partly_here} of {signals.partly_listed} instances"
        parts.append(f"{told} are here of series that the modality lists (MPPS)")
    if signals.required_missing:
        parts.append(f"no series that is required as {', '.join(signals.required_missing)}")
    return "; ".join(parts)


def _counted(signals: Signals) -> str:
    return "" if signals.expected is None else f", all {signals.expected} expected are here"


def _noted(signals: Signals) -> str:
    """What procedure steps say besides, though it does not decide."""
    parts = []
    if signals.steps_in_progress:
        parts.append("a procedure step (MPPS) is still in progress")
    absent = signals.listed - signals.listed_here - (signals.partly_listed - signals.partly_here)
    if absent > 0:
        parts.append(f"of {_instances(absent)} that the modality lists (MPPS) in other series none came")
    return "".join(f"; {part}" for part in parts) + _discontinued(signals)


def _discontinued(signals: Signals) -> str:
    if not signals.discontinued:
        return ""
    return f"; the modality discontinued a procedure step {', '.join(signals.discontinued)}".rstrip()


def _but(lacking: str) -> str:
    return f", but {lacking}" if lacking else ""


def _instances(count: int) -> str:
    return f"{count} instance{'' if count == 1 else 's'}"
