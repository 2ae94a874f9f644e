"""What the infer room writes down: who begins, what came of it, who died or was given back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import structlog

from node.catalogue import Model
from node.domain.finding import Finding
from node.domain.priority import Lane
from node.domain.time import Clock
from node.domain.uid import derived_uid
from node.domain.work import WorkKind
from node.errors import Failed, MatinsError, Transient, Unsuitable
from node.infer.messages import Job, Reply, ReplyFile, ReplyKind, Slice, file_of
from node.infer.turn import Turn
from node.loop import attempt
from node.store import artifacts, instances, outcomes, studies, work_items
from node.store.company import company_of
from node.store.database import Database
from node.store.outcomes import Outcome
from node.store.work_items import WorkItem
from node.workflow import night_hours, reading
from node.workflow.policy import Policy, load_policy
from node.workflow.reading import MadeFile

log = structlog.get_logger()

LEASE_S = 30.0


class Ledger:
    """The store, as the infer room writes to it; each entry is one transaction."""

    def __init__(self, db: Database, clock: Clock, policy: Policy, owner: str) -> None:
        self.policy = policy
        self._db = db
        self._clock = clock
        self._owner = owner

    def claim(
        self, above: Lane | None, *, awaited: bool = False, study: str = "", outcome: str = ""
    ) -> WorkItem | None:
        """Take the most urgent study that waits; with `above`, only one of a more urgent lane.

        With `awaited` only what somebody waits for, with `study` and `outcome` only of those. What may wait for the
        night is left to it.
        """
        now = self._clock.now()
        is_night, settings = night_hours.is_night(now, self.policy.settings), self.policy.settings.night
        found = work_items.claim(
            *(self._db, now, WorkKind.INFER, self._owner, LEASE_S),
            above=above,
            awaited=awaited,
            by_night=is_night,
            routine=is_night or not settings.defer_routine,
            study=study,
            subject=outcome,
        )
        return found[0] if found else None

    def claim_company(self, turn: Turn, limit: int, *, but: Collection[str] = ()) -> list[Turn]:
        """Take up to `limit` further studies that wait for the same, one image each: of one model, mode and lane.

        What is in `but` (outcomes) stays.
        """
        found = []
        for outcome, study in company_of(self._db, self._clock.now(), turn.item, turn.lane, limit=limit):
            item = None if outcome in but else self.claim(None, study=study, outcome=outcome)
            begun = self.begin(item) if item is not None else None
            if begun is not None and begun.process == turn.process and begun.outcome.mode is turn.outcome.mode:
                found.append(begun)
            elif begun is not None:
                self.give_back(begun, "it waits for another model")
        return found

    def begin(self, item: WorkItem) -> Turn | None:
        """Note that a model begins with a study; `None` if nothing can come of it, which is then noted."""
        begun: list[Turn] = []

        def begin() -> None:
            with self._db.transaction():
                outcome = reading.begin(self._db, self._clock.now(), item)
            if outcome is not None:
                lane = self.lane(item.study_instance_uid)
                model = self._model(outcome)
                begun.append(Turn(item=item, outcome=outcome, model=model, job=job_of(self._db, outcome), lane=lane))

        self._attempt(item, begin)
        return begun[0] if begun else None

    def finish(self, turn: Turn, reply: Reply) -> None:
        """Keep what came of a study."""
        self._attempt(turn.item, lambda: self._record(turn, reply))

    def reject(self, turn: Turn, error: MatinsError) -> None:
        """The study cannot be read, whatever is tried."""

        def reject() -> None:
            raise error

        self._attempt(turn.item, reject)

    def died(self, turn: Turn, reason: str) -> None:
        """The model process died over the study: it is counted."""
        log.error("model_died", model=turn.outcome.model, study=turn.item.study_instance_uid, reason=reason)
        with self._db.transaction():
            self._died(turn.item, reason)

    def give_back(self, turn: Turn, reason: str) -> None:
        """The study is read another time, through no fault of its own."""
        log.info("study_given_back", model=turn.outcome.model, study=turn.item.study_instance_uid, reason=reason)
        with self._db.transaction():
            if work_items.give_back(self._db, self._clock.now(), turn.item, reason, wait_s=0):
                reading.await_another_try(self._db, self._clock.now(), turn.item, reason)

    def keep(self, turn: Turn) -> None:
        """Lengthen the lease."""
        work_items.heartbeat(self._db, self._clock.now(), turn.item, LEASE_S)

    def lane(self, study_instance_uid: str) -> Lane:
        """Where a study stands now."""
        study = studies.study(self._db, study_instance_uid)
        return study.lane if study is not None else Lane.ROUTINE

    def _attempt(self, item: WorkItem, act: Callable[[], None]) -> None:
        attempt(self._db, self._clock, item, act, reject=self._reject, died=self._died)

    def _reject(self, item: WorkItem, error: MatinsError) -> None:
        reading.reject(self._db, self._clock.now(), self.policy, item, error)

    def _died(self, item: WorkItem, reason: str) -> None:
        reading.died(self._db, self._clock.now(), self.policy, item, reason)

    def _model(self, outcome: Outcome) -> Model:
        """The model as it was when the study was assigned to it; read anew where this room started with another.

        Raises:
            Failed: it is gone, may not run, or is another one now.
        """
        model = self.policy.model(outcome.model)
        if model is None or not is_that_of(model, outcome):
            self.policy = load_policy(self.policy.settings)
            model = self.policy.model(outcome.model)
        if model is None:
            raise Failed(f"the model {outcome.model} is not there any more; `matins check` says why")
        if model.problem:
            raise Failed(model.problem)
        if not is_that_of(model, outcome):
            raise Failed(f"{outcome.model} has changed since the study was given to it; `matins force` reads it again")
        return model

    def _record(self, turn: Turn, reply: Reply) -> None:
        if reply.kind is ReplyKind.UNSUITABLE:
            raise Unsuitable(reply.reason)
        if reply.kind is ReplyKind.TRANSIENT:
            raise Transient(reply.reason)
        if reply.kind is not ReplyKind.DONE:
            raise Failed(reply.reason)
        item, outcome = turn.item, turn.outcome
        found = [tracked(finding, outcome, place) for place, finding in enumerate(reply.findings)]
        made = [made_of(self._db, turn.job.stem, file) for file in reply.files]
        timings = _timings(turn, reply)
        with self._db.transaction():
            kept = reading.complete(self._db, self._clock.now(), self.policy, item, found, made, timings, reply.notes)
        if not kept:
            log.warning("result_not_wanted", work_item=f"{item.kind}:{item.subject}", study=item.study_instance_uid)
            return
        log.info(
            "study_read",
            model=outcome.model,
            study=item.study_instance_uid,
            slices=len(turn.job.slices),
            **{key: round(value, 3) for key, value in timings.items()},
        )


def made_of(db: Database, stem: str, file: ReplyFile) -> MadeFile:
    """Return a file of the study whose files begin with `stem` (see `Job`) as its outcome keeps it.

    Raises:
        Failed: it lies where this study's files do not.
    """
    path = file_of(stem, file.kind, file.profile)
    if str(path) != file.path:
        raise Failed(f"the model process names a {file.kind} that is not of this study")
    return MadeFile(
        kind=file.kind,
        path=str(path.relative_to(db.folder)),
        size=file.size,
        digest=file.digest,
        profile=file.profile,
        account=file.account,
    )


def job_of(db: Database, outcome: Outcome) -> Job:
    """What a model process is asked to read for an outcome.

    Raises:
        Failed: an input is not described.
    """
    held = instances.with_ids(db, outcomes.inputs(db, outcome.id))
    slices = [
        Slice(
            path=str(db.folder / each.path),
            instance=each.instance,
            role=outcome.roles.get(each.series_instance_uid, ""),
        )
        for each in held
        if each.instance
    ]
    if len(slices) < len(held) or not slices:
        raise Failed(f"{len(held) - len(slices)} of {len(held)} inputs are not described")
    return Job(id=str(outcome.id), slices=tuple(slices), stem=str(db.folder / stem_of(outcome)))


def _timings(turn: Turn, reply: Reply) -> Mapping[str, float]:
    """Seconds by step; `load_s` where the study waited for its model to be loaded."""
    return {**({"load_s": turn.load_s} if turn.load_s else {}), **reply.timings}


def is_that_of(model: Model, outcome: Outcome) -> bool:
    """Whether a model is the one, with the card, that an outcome is of."""
    return model.model_digest == outcome.model_digest and model.card_digest == outcome.card_digest


def stem_of(outcome: Outcome) -> str:
    """How the names of its files begin, below the data folder: the same run has the same files."""
    return f"{artifacts.MASKS}/{derived_uid('mask', *_identity(outcome))}"


def tracked(finding: Finding, outcome: Outcome, place: int) -> Finding:
    """Give the finding the identifiers by which reports refer to it (PS3.16 TID 1411, TID 1419), each its own.

    A lesion keeps the UID that it was measured with; what is no segment is told apart by its place among the findings.
    """
    identity = _identity(outcome)
    number = (finding.segment_number,) if finding.segment_number else (0, finding.tracking_identifier, place)
    return replace(
        finding,
        tracking_identifier=f"{outcome.model} {finding.tracking_identifier or finding.code.meaning}",
        tracking_uid=finding.tracking_uid or derived_uid("tracking", *identity, *number),
    )


def _identity(outcome: Outcome) -> tuple[str | int, ...]:
    """What makes a run this run (the same work gives the same identifiers)."""
    return (
        outcome.study_instance_uid,
        outcome.series_instance_uid,
        outcome.content_digest,
        outcome.model_digest,
        outcome.card_digest,
        outcome.run_number,
    )
