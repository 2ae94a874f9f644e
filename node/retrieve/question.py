"""What the room asks and what comes back, as JSON between it and the process that asks."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from node.domain.uid import is_valid_uid


def _uid(text: str) -> str:
    if not is_valid_uid(text):
        raise ValueError("not a UID")
    return text


class Question(BaseModel):
    """How many instances a study has, asked of one peer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    peer: str
    host: str
    port: int
    their_ae_title: str
    our_ae_title: str
    study_instance_uid: Annotated[str, AfterValidator(_uid)]
    #: Seconds for the connection, and for each answer.
    connect_s: Annotated[float, Field(gt=0)]
    answer_s: Annotated[float, Field(gt=0)]

    @property
    def limit_s(self) -> float:
        """After this many seconds the question is over, whatever the peer does."""
        return self.connect_s + 2 * self.answer_s


class Reply(BaseModel):
    """What came of it: a number, or why there is none and whether asking again makes sense."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int | None = None
    reason: str = ""
    again: bool = False
