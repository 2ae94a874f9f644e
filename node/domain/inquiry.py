"""What came of asking another system for a patient's history."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.time import Instant, elapsed_s


class InquiryState(StrEnum):
    """What came of a question. Only an answer says that nothing is known there; all others say that nobody knows."""

    #: It answered, perhaps with nothing.
    ANSWERED = "answered"
    #: It does not know the patient, so there is nothing to ask for.
    NOBODY = "nobody"
    #: It knows several patients of the identifier, or one who does not bear it: nothing of it is believed.
    DOUBTFUL = "doubtful"
    #: It does not offer this resource.
    NOT_OFFERED = "not offered"
    #: It gave no answer that can be believed; what was known before stays.
    FAILED = "failed"
    #: It was not asked: the patient is not identified, or of an issuer that it does not know.
    NOT_ASKED = "not asked"


#: With which of them it need not be asked again at once.
SETTLED = frozenset({InquiryState.ANSWERED, InquiryState.NOBODY, InquiryState.DOUBTFUL, InquiryState.NOT_OFFERED})
#: With which of them what the server told before of the patient is no longer believed.
UNBELIEVED = frozenset({InquiryState.NOBODY, InquiryState.DOUBTFUL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """One question to one server, and what came of it."""

    server: str
    #: As FHIR names it; empty where nothing could be asked at all.
    resource: str
    patient_id: str
    issuer: str
    #: Of the study that the question is about; empty where it is about the patient alone.
    study_instance_uid: str = ""
    state: InquiryState
    #: How many facts it told.
    facts: int = 0
    #: Why not, or what of the answer was left out.
    reason: str = ""
    etag: str = ""
    digest: str = ""
    asked: Instant

    def age_s(self, now: Instant) -> float:
        """Seconds since it was asked; without end where the clock was set back over a reboot, so that nobody knows."""
        if self.asked.boot_id != now.boot_id and now.wall < self.asked.wall:
            return float("inf")
        return elapsed_s(self.asked, now)
