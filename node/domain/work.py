"""States and the legal moves between them: work items, outcomes, results."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class WorkKind(StrEnum):
    """What a work item asks for, and thereby which room claims it."""

    DESCRIBE = "describe"
    EXPECTED_COUNT = "expected_count"
    #: Whether an archive lists every instance of a study that is to be freed; subject "study/day".
    ARCHIVED = "archived"
    #: One retrieval of a study from an archive.
    FETCH = "fetch"
    #: Which earlier studies of a patient the archives hold.
    PRIORS = "priors"
    #: What a FHIR server knows of the patient of a study; subject "server/study".
    HISTORY = "history"
    INFER = "infer"
    #: A result compared with that of a prior; subject: the outcome's id.
    COMPARE = "compare"
    REPORT = "report"
    #: A report or segmentation of ours or another's, read back; subject: the instance's row id.
    READ_PRIOR = "read_prior"
    #: A rejection note over results that a destination has; subject: its id.
    REJECT = "reject"
    #: What takes the place of a result that a destination does not store; subject "outbox row:attempt".
    FALLBACK = "fallback"
    #: A result that is built anew with the values of its destination; subject "outbox row:attempt".
    CORRECTION = "correction"
    #: Who is scheduled on a day, by a modality worklist; subject "peer/day".
    WORKLIST = "worklist"
    #: Which studies of one day an archive holds, to fetch them by night; subject "backfill/day".
    BACKFILL = "backfill"


class WorkHours(IntEnum):
    """When a work item may be claimed."""

    #: Whenever it is its turn.
    ANY = 0
    #: By night alone, when nothing waits that somebody waits for.
    NIGHT = 1
    #: By day as well, when nothing waits that somebody waits for.
    SPARE = 2


class WorkState(StrEnum):
    """Where a work item stands."""

    #: May be claimed once `not_before` has passed.
    READY = "ready"
    #: Leased to a worker.
    CLAIMED = "claimed"
    #: Done; its successors were written in the same transaction.
    FINISHED = "finished"
    #: Given up after the last attempt; a person may retry it.
    PARKED = "parked"
    #: No longer wanted: a newer revision or a withdrawn study.
    CANCELLED = "cancelled"


class OutcomeState(StrEnum):
    """What became of one model on one revision."""

    PENDING = "pending"
    RUNNING = "running"
    #: The model ran and its findings are stored.
    RESULT = "result"
    #: No series suits the model, with the reason.
    NOT_APPLICABLE = "not_applicable"
    #: Tried and given up, with the reason.
    FAILED = "failed"
    #: The study never became complete enough.
    INCOMPLETE = "incomplete"
    #: A newer revision or a forced run took its place.
    SUPERSEDED = "superseded"


class ResultState(StrEnum):
    """What became of one object on its way to one destination."""

    QUEUED = "queued"
    #: The peer answered success or a warning.
    SENT = "sent"
    #: The peer promised to keep it (Storage Commitment).
    COMMITTED = "committed"
    #: Refused for good, with the status.
    DEAD = "dead"
    #: Stopped at the send gate, with the reason.
    HELD = "held"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


_W, _O, _R = WorkState, OutcomeState, ResultState

WORK_MOVES: dict[WorkState, frozenset[WorkState]] = {
    _W.READY: frozenset({_W.CLAIMED, _W.CANCELLED}),
    _W.CLAIMED: frozenset({_W.CLAIMED, _W.READY, _W.FINISHED, _W.PARKED, _W.CANCELLED}),
    _W.PARKED: frozenset({_W.READY, _W.CANCELLED}),
    # What it is about has changed: a model that had failed, and that was told, has read after all.
    _W.FINISHED: frozenset({_W.READY}),
    _W.CANCELLED: frozenset({_W.READY}),
}
OUTCOME_MOVES: dict[OutcomeState, frozenset[OutcomeState]] = {
    _O.PENDING: frozenset({_O.RUNNING, _O.NOT_APPLICABLE, _O.FAILED, _O.INCOMPLETE, _O.SUPERSEDED}),
    _O.RUNNING: frozenset({_O.PENDING, _O.RUNNING, _O.RESULT, _O.NOT_APPLICABLE, _O.FAILED, _O.SUPERSEDED}),
    _O.RESULT: frozenset({_O.FAILED, _O.SUPERSEDED}),
    _O.NOT_APPLICABLE: frozenset({_O.SUPERSEDED}),
    # Back to a result: what the model found is there, and only its report had failed.
    _O.FAILED: frozenset({_O.PENDING, _O.RESULT, _O.SUPERSEDED}),
    _O.INCOMPLETE: frozenset({_O.SUPERSEDED}),
    _O.SUPERSEDED: frozenset(),
}
RESULT_MOVES: dict[ResultState, frozenset[ResultState]] = {
    _R.QUEUED: frozenset({_R.QUEUED, _R.SENT, _R.DEAD, _R.HELD, _R.SUPERSEDED, _R.WITHDRAWN}),
    # Back to the queue, or dead: the peer answered success, and says later that it does not have the object.
    _R.SENT: frozenset({_R.COMMITTED, _R.QUEUED, _R.DEAD, _R.SUPERSEDED, _R.WITHDRAWN}),
    _R.COMMITTED: frozenset({_R.QUEUED, _R.SUPERSEDED, _R.WITHDRAWN}),
    _R.DEAD: frozenset({_R.QUEUED, _R.SUPERSEDED, _R.WITHDRAWN}),
    _R.HELD: frozenset({_R.QUEUED, _R.SUPERSEDED, _R.WITHDRAWN}),
    _R.SUPERSEDED: frozenset(),
    _R.WITHDRAWN: frozenset(),
}

#: Outcomes with which a model is through with a revision.
FINAL_OUTCOMES = frozenset({_O.RESULT, _O.NOT_APPLICABLE, _O.FAILED, _O.INCOMPLETE, _O.SUPERSEDED})
