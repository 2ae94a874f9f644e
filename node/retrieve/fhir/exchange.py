"""What the room asks of a FHIR server and what comes back, as JSON between it and the process that asks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from node.domain.history import Fact
from node.domain.inquiry import InquiryState
from node.domain.report_state import ReportState

_Limit = Annotated[float, Field(gt=0)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FhirCall(_Message):
    """Whom to ask, and on what terms."""

    server: str
    base: str
    #: Empty where none is shown.
    token_file: str = ""
    connect_s: _Limit
    answer_s: _Limit
    #: For everything together.
    longest_s: _Limit
    most_bytes: int

    @property
    def limit_s(self) -> float:
        """After this many seconds the question is over, whatever the server does."""
        return self.longest_s + self.answer_s

    @property
    def silence_s(self) -> float:
        """After this many seconds without a sign of life it is over, too."""
        return self.limit_s


class AskedResource(_Message):
    """One resource to ask for, and by what the answer to the same question is known that is kept here."""

    resource: str
    etag: str = ""
    #: Of the question and of whom the kept answer was about.
    digest: str = ""


class HistoryQuery(FhirCall):
    """What the server knows of one patient, and of one study of theirs."""

    errand: Literal["history"] = "history"
    #: Of the patient identifiers, and the identifier itself.
    system: Annotated[str, Field(min_length=1)]
    patient_id: Annotated[str, Field(min_length=1)]
    #: As the study tells them, YYYYMMDD and M, F, O; empty where it does not.
    birth_date: str
    sex: str
    study_instance_uid: str
    #: Empty where orders are not asked for by it.
    accession_system: str = ""
    accession_number: str = ""
    #: Other studies of the patient bear it, too: a report that names it may be of one of them.
    accession_is_shared: bool = False
    asked: tuple[AskedResource, ...]
    categories: tuple[str, ...]
    #: First day of the observations, and today: YYYY-MM-DD.
    since: str
    today: str
    post: bool
    page_size: int
    most_pages: int


class CapabilityQuery(FhirCall):
    """Whether it is a FHIR R4 server that lets us search for patients."""

    errand: Literal["capability"] = "capability"
    #: A system of patient identifiers there, and an identifier that nobody has.
    system: Annotated[str, Field(min_length=1)]
    nobody: Annotated[str, Field(min_length=1)]
    resources: tuple[str, ...]
    post: bool


class ResourceAnswer(_Message):
    """What came of one resource."""

    resource: str
    state: InquiryState
    facts: tuple[Fact, ...] = ()
    #: The answer is the one that is kept here: nothing has changed.
    unchanged: bool = False
    #: Why there is no answer, or what of it was left out.
    reason: str = ""
    #: It may answer later.
    again: bool = False
    etag: str = ""
    digest: str = ""
    #: Requested priority of the study's order, as request-priority codes it; empty where none is told.
    priority: str = ""
    #: How far the radiologist's report of the study is, where it is told.
    report_state: ReportState | None = None


class HistoryAnswer(_Message):
    """What came of a history query; where there is no patient, there is no resource."""

    #: Whom the server means, as it tells birth date and sex: YYYYMMDD and M, F, O.
    birth_date: str = ""
    sex: str = ""
    #: `ANSWERED` where exactly one patient matches.
    state: InquiryState
    reason: str = ""
    again: bool = False
    #: The server asks to be left alone for so long, seconds.
    wait_s: float = 0.0
    resources: tuple[ResourceAnswer, ...] = ()


class Capability(_Message):
    """What a server says of itself."""

    version: str
    software: str = ""
    #: Resources that are asked for, and that it does not list.
    missing: tuple[str, ...] = ()
