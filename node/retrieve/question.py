"""What the room asks and what comes back, as JSON between it and the process that asks."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from node.domain.dicom_json import Attributes
from node.domain.uid import is_usable_uid
from node.errors import Failed
from node.retrieve.fhir.exchange import Capability, CapabilityQuery, HistoryAnswer, HistoryQuery
from node.retrieve.found import FoundInstance, FoundSeries, FoundStep, FoundStudy
from node.retrieve.keys import StudyKeys


def _uid(text: str) -> str:
    if not is_usable_uid(text):
        raise ValueError("not a UID")
    return text


Uid = Annotated[str, AfterValidator(_uid)]
Limit = Annotated[float, Field(gt=0)]


class Way(StrEnum):
    """How the objects of a study are had."""

    #: WADO-RS (PS3.18 §10.4).
    WEB = "web"
    #: C-MOVE to our own AE title: the objects come in through our own door (PS3.4 §C.4.2).
    MOVE = "move"
    #: C-GET over the same association (PS3.4 §C.4.3).
    GET = "get"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Call(_Message):
    """Whom to ask, and how long to wait."""

    peer: str
    host: str = ""
    port: int = 0
    their_ae_title: str
    our_ae_title: str
    #: Base address of its DICOMweb service; asked there where it is not empty.
    dicomweb: str = ""
    #: Seconds for the connection, and for each answer.
    connect_s: Limit
    answer_s: Limit

    @property
    def limit_s(self) -> float:
        """After this many seconds the question is over, whatever the peer does."""
        return self.connect_s + 2 * self.answer_s

    @property
    def silence_s(self) -> float:
        """After this many seconds without a sign of life it is over, too."""
        return self.limit_s


class Question(Call):
    """How many instances a study has, asked of one peer."""

    errand: Literal["count"] = "count"
    study_instance_uid: Uid


class StudyQuery(Call):
    """Which studies match."""

    errand: Literal["find"] = "find"
    keys: StudyKeys
    #: More answers than this are an error.
    most: Annotated[int, Field(ge=1)]

    @property
    def limit_s(self) -> float:
        """A long list takes longer."""
        return self.connect_s + 4 * self.answer_s


class ContentsQuery(Call):
    """Which instances a study has."""

    errand: Literal["contents"] = "contents"
    study_instance_uid: Uid

    @property
    def limit_s(self) -> float:
        """It is one query a series."""
        return self.connect_s + 20 * self.answer_s


class SeriesQuery(Call):
    """Which series a study has."""

    errand: Literal["series"] = "series"
    study_instance_uid: Uid


class WorklistQuery(Call):
    """Who is scheduled on a day."""

    errand: Literal["worklist"] = "worklist"
    #: YYYYMMDD.
    day: Annotated[str, Field(pattern=r"^[0-9]{8}$")]
    #: More answers than this are an error.
    most: Annotated[int, Field(ge=1)]

    @property
    def limit_s(self) -> float:
        """A long list takes longer."""
        return self.connect_s + 4 * self.answer_s


class StepRequest(_Message):
    """One request about Unified Procedure Steps (PS3.4 §CC.2)."""

    service: Literal["find", "get", "set", "state", "watch"]
    #: SOP Instance UID of the step; empty for a look.
    uid: str = ""
    content: Attributes = Field(default_factory=dict)
    #: Attributes that are wanted ("get").
    tags: tuple[str, ...] = ()


class StepAnswer(_Message):
    """The status of the answer, and steps."""

    status: int
    found: tuple[Attributes, ...] = ()


class StepsErrand(Call):
    """Put these requests to a manager of steps, one after the other."""

    errand: Literal["steps"] = "steps"
    requests: tuple[StepRequest, ...]

    @property
    def limit_s(self) -> float:
        """Each has its answer."""
        return self.connect_s + (1 + len(self.requests)) * self.answer_s


class Portion(_Message):
    """A part of a study: one series, or instances of it; the whole study without a series."""

    series_instance_uid: Annotated[str, AfterValidator(lambda text: text and _uid(text))] = ""
    sop_instance_uids: tuple[Uid, ...] = ()


class Transfer(Call):
    """Have a study, or portions of it, sent."""

    errand: Literal["transfer"] = "transfer"
    study_instance_uid: Uid
    way: Way
    portions: tuple[Portion, ...]
    #: SOP Classes of what is wanted, as far as known.
    sop_class_uids: tuple[Uid, ...] = ()
    #: Our own port, for people.
    our_port: int
    #: Where to leave what does not come through the door.
    folder: str = ""
    #: Objects above this are left out, bytes; and below this share of free disk nothing is taken.
    maximum_bytes: int
    minimum_free_percent: float
    #: Seconds for the whole, and without a sign of life.
    longest_s: Limit
    longest_silence_s: Limit

    @property
    def limit_s(self) -> float:
        """For the whole transfer."""
        return self.longest_s

    @property
    def silence_s(self) -> float:
        """Without an answer or an object."""
        return self.longest_silence_s


_Asked = Question | StudyQuery | SeriesQuery | ContentsQuery | WorklistQuery | StepsErrand
Errand = _Asked | Transfer | HistoryQuery | CapabilityQuery
ERRAND: TypeAdapter[Errand] = TypeAdapter(Annotated[Errand, Field(discriminator="errand")])


class Tally(_Message):
    """How far a transfer is, as the archive counts its sub-operations (PS3.7 §9.1.4), or as we do."""

    remaining: int = 0
    completed: int = 0
    failed: int = 0
    warning: int = 0


class NotOffered(Failed):
    """The archive does not offer this service at all; another way to the same end may do."""


class Reply(_Message):
    """What came of it: an answer, or why there is none and whether asking again makes sense."""

    count: int | None = None
    studies: tuple[FoundStudy, ...] = ()
    #: `None` where the archive does not list instances.
    contents: tuple[FoundInstance, ...] | None = None
    series: tuple[FoundSeries, ...] = ()
    scheduled: tuple[FoundStep, ...] = ()
    #: What a FHIR server answers.
    history: HistoryAnswer | None = None
    capability: Capability | None = None
    #: What a manager of steps answered, request by request.
    steps: tuple[StepAnswer, ...] = ()
    #: How many answers were not believed, by reason.
    disbelieved: dict[str, int] = Field(default_factory=dict)
    tally: Tally = Tally()
    #: Of a transfer: why some of it did not come, where the archive said so. Else: why there is no answer.
    reason: str = ""
    failed: bool = False
    again: bool = False
    offered: bool = True


class Line(_Message):
    """One line that the process prints: a sign of life, or the reply, which is the last."""

    progress: Tally | None = None
    reply: Reply | None = None
