"""What has changed since an earlier study of the same patient."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.finding import Code


class Verdict(StrEnum):
    """How something stands against the prior."""

    #: It was not there in the prior, which showed the place.
    NEW = "new"
    #: Larger, beyond what measuring it twice varies by.
    GROWN = "grown"
    #: Smaller, beyond what measuring it twice varies by.
    SHRUNK = "shrunk"
    #: The difference lies within what measuring it twice varies by.
    STABLE = "stable"
    #: It was there in the prior, and is no longer.
    RESOLVED = "resolved"
    #: The two cannot be compared, with the reason.
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One measured quantity of one finding, now and in one prior."""

    #: The model that found it, now and in the prior.
    model: str
    #: What was found.
    code: Code
    quantity: Code
    unit: Code
    #: Which segment of the card it is; 0 where the finding has none.
    segment_number: int = 0
    #: The lesion's number in the current result; 0 for a whole segment, and for a lesion that is gone.
    lesion_number: int = 0
    #: The lesion's number in the prior's result; 0 for a whole segment, and for a lesion that is new.
    prior_lesion_number: int = 0
    #: Tracking Unique Identifier (0062,0021) that both share; empty where they were matched otherwise.
    tracking_uid: str = ""
    before: float | None = None
    after: float | None = None
    #: `after / before` with its 95 % interval, from the measured repeatability; `None` where there is none.
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    #: Days in which its volume doubles at this rate; negative: halves; `None` where it is not beyond repeatability.
    doubling_days: float | None = None
    #: Days from the prior to the current study.
    days: int | None = None
    prior_study_instance_uid: str
    #: YYYYMMDD.
    prior_date: str = ""
    #: The image of the prior that shows it best; empty where that is not known.
    prior_image: str = ""
    verdict: Verdict
    #: One sentence: why not comparable, by what it was matched, what the repeatability is.
    reason: str = ""
