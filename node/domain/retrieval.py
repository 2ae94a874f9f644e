"""Retrievals: studies that we ask an archive for, why, and how far each has come."""

from __future__ import annotations

from enum import StrEnum


class Purpose(StrEnum):
    """Why a study is retrieved."""

    #: A person asked for it by hand: it is ranked, and its results are sent, like those of any study.
    ASKED = "asked"
    #: An earlier study of a patient whose study has come: it raises nothing by itself.
    PRIOR = "prior"


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
