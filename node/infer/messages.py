"""What parent and model process say to each other: one JSON document a line, each way."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from node.domain.finding import Finding
from node.domain.model_card import ModelCard
from node.domain.study import Instance

Message = TypeVar("Message")

#: The kind of artifact that a mask is.
MASK = "mask"


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
    #: Folder below which engines' evidence is kept; empty: nowhere.
    evidence: str = ""
    #: Whether the bundle's own Python was looked at and trusted.
    own_code: bool = False
    #: Whether the pipeline must make do with less memory than it would take: it ran out of it before.
    frugal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One input instance."""

    #: Its Part 10 file.
    path: str
    instance: Instance
    #: Which of the card's roles its series has; empty where the card has none.
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One study to read: a series, or those of several roles."""

    id: str
    slices: tuple[Slice, ...]
    #: Where its files go, each under this path with an ending of its own (`file_of`).
    stem: str


class OrderKind(StrEnum):
    """What a model process is to do."""

    #: Read a study's pixels ahead, as far as memory allows.
    PREPARE = "prepare"
    #: Have the network read a study that was prepared: at once, or in the midst of the one that it reads now.
    GO = "go"
    #: Wait at the next beat. What it is told to read meanwhile, it reads.
    PAUSE = "pause"
    #: Go on.
    RESUME = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Every further line to a model process."""

    kind: OrderKind
    #: Of PREPARE.
    job: Job | None = None
    #: The job's, of GO.
    id: str = ""
    #: Of GO: those that are read after it, one by one, and may be answered together with it before.
    company: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFile:
    """One durable file of a reading."""

    #: "mask", "saliency": the kind of artifact that it is.
    kind: str
    path: str
    size: int
    #: SHA-256 of the file.
    digest: str
    #: Which of several files of its kind it is.
    profile: str = ""
    #: How it was made, as JSON (see `store.artifacts`).
    account: str = ""


class ReplyKind(StrEnum):
    """What became of a start or a job."""

    #: The model is loaded.
    READY = "ready"
    #: The network begins with the job.
    STARTED = "started"
    #: The pause has begun.
    PAUSED = "paused"
    #: The network is free again; the job's files are being written, and a last reply follows.
    COMPUTED = "computed"
    #: The study is read, and its files are durable.
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

    #: The job's; empty for the start and for PAUSED.
    id: str = ""
    kind: ReplyKind
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    #: Seconds by step.
    timings: dict[str, float] = field(default_factory=dict)
    files: tuple[ReplyFile, ...] = ()
    #: Sentences on how it was computed, where that was not the plain way.
    notes: tuple[str, ...] = ()
    #: "cpu" or "cuda".
    device: str = ""
    #: Of READY: whether several small studies may go through the network in one pass.
    reads_many: bool = False
    #: Largest memory that the process has held so far.
    resident_bytes: int = 0
    #: Largest memory of the GPU that it has held so far, and how much there is.
    device_bytes: int = 0
    device_total_bytes: int = 0
    #: What the process was confined to, and what the system does not permit: one line for people.
    confinement: str = ""


START: TypeAdapter[Start] = TypeAdapter(Start)
ORDER: TypeAdapter[Order] = TypeAdapter(Order)
REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)

#: The replies after which nothing more is said of a job.
LAST_REPLIES = frozenset({ReplyKind.DONE, ReplyKind.UNSUITABLE, ReplyKind.FAILED, ReplyKind.TRANSIENT})


def line(adapter: TypeAdapter[Message], message: Message) -> bytes:
    """Return the message as one line, defaults left out."""
    return adapter.dump_json(message, exclude_defaults=True) + b"\n"


def file_of(stem: str, kind: str, profile: str = "") -> Path:
    """Where the file of a kind lies: the mask has the plain name, others have theirs before the ending."""
    # A profile may hold a label in any script.
    which = f"-{hashlib.sha256(profile.encode()).hexdigest()[:16]}" if profile else ""
    return Path(f"{stem}.npz" if kind == MASK else f"{stem}.{kind}{which}.npz")
