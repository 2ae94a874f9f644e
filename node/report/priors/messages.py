"""What the room and the process that reads documents say to each other: one JSON document a line."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

from node.domain.prior_document import DocumentKind, PriorDocument
from node.domain.study import Instance

#: The process's first line: its libraries are loaded and its limits are set.
READY = b"ready\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One object to be read."""

    path: str
    kind: DocumentKind
    sop_class_uid: str
    sop_instance_uid: str
    #: Of a segmentation, to have its segments measured: the images that it was made on, as far as their place goes.
    images: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What it says, or why that cannot be read."""

    document: PriorDocument | None = None
    unreadable: str = ""


QUESTION: TypeAdapter[Question] = TypeAdapter(Question)
ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)
