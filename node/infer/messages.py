"""What parent and model process say to each other: one JSON document a line, each way."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from pydantic import TypeAdapter

from node.domain.finding import Finding
from node.domain.model_card import ModelCard
from node.domain.study import Instance

Message = TypeVar("Message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The first line to a model process: which model it is."""

    card: ModelCard
    #: The model's folder.
    folder: str
    #: Role → weights file.
    weights: dict[str, str]
    #: What the weights must hash to (`catalogue.weights.digest_of_model`).
    model_digest: str
    #: "auto", "cpu" or "cuda".
    device: str
    #: Threads on a CPU; 0 takes every core.
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One input instance."""

    #: Its Part 10 file.
    path: str
    instance: Instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Every further line to a model process: one series to read."""

    id: str
    slices: tuple[Slice, ...]
    #: Where the mask goes.
    mask: str


class ReplyKind(StrEnum):
    """What became of a start or a job."""

    #: The model is loaded.
    READY = "ready"
    #: The mask is durable.
    DONE = "done"
    #: As `errors.Unsuitable`, with the reason.
    UNSUITABLE = "unsuitable"
    #: As `errors.Failed`, with the reason.
    FAILED = "failed"
    #: As `errors.Transient`, with the reason.
    TRANSIENT = "transient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A line from a model process."""

    #: The job's; empty for the start.
    id: str = ""
    kind: ReplyKind
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    #: Seconds by step.
    timings: dict[str, float] = field(default_factory=dict)
    mask_size: int = 0
    #: SHA-256 of the mask file.
    mask_digest: str = ""
    #: "cpu" or "cuda".
    device: str = ""
    #: Largest memory that the process has held so far.
    resident_bytes: int = 0


START: TypeAdapter[Start] = TypeAdapter(Start)
JOB: TypeAdapter[Job] = TypeAdapter(Job)
REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)


def line(adapter: TypeAdapter[Message], message: Message) -> bytes:
    """Return the message as one line, defaults left out."""
    return adapter.dump_json(message, exclude_defaults=True) + b"\n"
