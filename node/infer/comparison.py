"""What the room and the process that compares two studies say to each other: one JSON document each way."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

from node.domain.alignment import Correspondence
from node.domain.finding import Finding
from node.domain.model_card import ModelCard
from node.infer.messages import Slice


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One study as a model read it."""

    #: What it read; empty where the files are not here any more.
    slices: tuple[Slice, ...] = ()
    #: The mask; empty where it left none.
    mask: str = ""
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Two studies of one patient."""

    card: ModelCard
    now: Side
    before: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What their images say, or why they say nothing."""

    found: Correspondence | None = None
    #: Why there is none.
    failed: str = ""


QUESTION: TypeAdapter[Question] = TypeAdapter(Question)
ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)
