"""What the describing child and its parent say to each other: one JSON document a line."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

from node.domain.study import Instance

#: The child's first line: its libraries are loaded and its limits are set.
READY = b"ready\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One instance to be described."""

    #: Row id of the instance.
    id: int
    path: str
    #: The sending peer's Issuer of Patient ID.
    issuer: str
    #: Why the pixels are not to be decoded: an earlier child died over them. Empty otherwise.
    undecodable: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a job: either the instance, or why there is none."""

    id: int
    instance: Instance | None = None
    #: Our own equipment made it.
    ours: bool = False
    undescribable: str = ""


JOB: TypeAdapter[Job] = TypeAdapter(Job)
ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)
