"""Retrievals: studies that we ask an archive for, why, and how far each has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

#: Modalities (0008,0060) of series that are no images but what somebody said of them: Structured Reports,
#: Segmentations, encapsulated documents.
RESULT_MODALITIES = frozenset({"SR", "SEG", "DOC"})


class Purpose(StrEnum):
    """Why a study is retrieved."""

    #: A person asked for it by hand: it is ranked, and its results are sent, like those of any study.
    ASKED = "asked"
    #: An earlier study of a patient whose study has come: it raises nothing by itself.
    PRIOR = "prior"
    #: A study of old, to be read by models in the shadow; it raises nothing, and nothing of it is sent.
    BACKFILL = "backfill"

    def yields_to(self, other: Purpose) -> bool:
        """Whether a retrieval becomes that of the other purpose, where both want the same study."""
        return _ORDER.index(other) < _ORDER.index(self)


_ORDER = (Purpose.ASKED, Purpose.PRIOR, Purpose.BACKFILL)


class RetrievalState(StrEnum):
    """Where a retrieval stands."""

    #: Waits for its turn, or to be tried again.
    REQUESTED = "requested"
    #: The archive is being asked, or sends.
    RETRIEVING = "retrieving"
    #: Everything that the archive says it holds of the study is here.
    RETRIEVED = "retrieved"
    #: Some of it is here; the archive did not give the rest, with the reason.
    INCOMPLETE = "incomplete"
    #: Nothing came, with the reason.
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How much of a study is asked for: series by their modality, and results beside them."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    #: `None`: every modality.
    modalities: tuple[str, ...] | None = None
    #: Series of `RESULT_MODALITIES`, whatever `modalities` says.
    results: bool = True

    def takes(self, modality: str) -> bool:
        """Whether a series is wanted; one whose modality is not told ("") is."""
        named = self.modalities is not None and modality in self.modalities
        if not modality or named:
            return True
        return self.results if modality in RESULT_MODALITIES else self.modalities is None

    def and_also(self, other: Wanted) -> Wanted:
        """All that either of the two wants."""
        every = None in (self.modalities, other.modalities)
        both = None if every else tuple(dict.fromkeys((*(self.modalities or ()), *(other.modalities or ()))))
        return Wanted(modalities=both, results=self.results or other.results)


EVERYTHING = Wanted()

_S = RetrievalState

RETRIEVAL_MOVES: dict[RetrievalState, frozenset[RetrievalState]] = {
    _S.REQUESTED: frozenset({_S.REQUESTED, _S.RETRIEVING, _S.FAILED}),
    _S.RETRIEVING: frozenset({_S.REQUESTED, _S.RETRIEVING, _S.RETRIEVED, _S.INCOMPLETE, _S.FAILED}),
    _S.RETRIEVED: frozenset(),
    _S.INCOMPLETE: frozenset(),
    _S.FAILED: frozenset(),
}

#: Retrievals that are not over.
OPEN_RETRIEVALS = (_S.REQUESTED, _S.RETRIEVING)
