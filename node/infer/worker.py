"""The infer room: claims studies, has a model process read each, and records what came of it.

Neither torch nor a volume is ever in this process: whatever a model does, the room goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from node.catalogue import Model
from node.config import Settings
from node.domain.finding import Finding
from node.domain.time import Clock, SystemClock
from node.domain.uid import derived_uid
from node.domain.work import WorkKind
from node.errors import Failed, MatinsError, Transient, Unsuitable
from node.infer.admission import Residence
from node.infer.messages import Job, Reply, ReplyFile, ReplyKind, Slice, file_of
from node.infer.model_child import COMMAND, ModelDied
from node.loop import Handling, Herald, Stop, run, stop_on_signals, work_step
from node.store import artifacts, files, instances, outcomes, work_items
from node.store.database import Database, open_database
from node.store.outcomes import Outcome
from node.store.work_items import WorkItem
from node.workflow import reading, recovery
from node.workflow.policy import Policy, load_policy
from node.workflow.reading import MadeFile

_OWNER = "infer:"
#: Below the data folder: what was measured of engines.
_EVIDENCE = "engines"
_LEASE_S = 30.0
#: Asked to stop, the room lets a study end for this long, then gives it back; less than the supervisor's patience.
_GRACE_S = 15.0

log = structlog.get_logger()


class _Stopping(Exception):
    """The room was asked to stop, and the study takes too long to wait for."""


def main(settings: Settings, command: Sequence[str] = COMMAND) -> int:
    """Run the room until SIGTERM; `command` starts a model process."""
    db = open_database(settings.data.folder, "infer")
    clock = SystemClock()
    herald, stop = Herald(), stop_on_signals()
    residence = Residence(settings.infer, command, evidence=db.folder / _EVIDENCE)
    room = InferRoom(db, clock, load_policy(settings), residence, Patience(herald, stop))
    (db.folder / artifacts.MASKS).mkdir(exist_ok=True)
    files.sync_folder(db.folder)
    files.sweep_temporary(db.folder / artifacts.MASKS)
    recovery.take_back(db, clock.now(), _OWNER, (WorkKind.INFER,))
    try:
        herald.ready(room.preload())
        run(db, work_step(db, clock, room.handling()), stop, herald)
    except _Stopping:
        log.info("stopped_while_loading")
    finally:
        herald.stopping()
        room.end()
        db.close()
    return 0


@dataclass(slots=True)
class Patience:
    """What the room does while it waits for a model: shows that it is alive, and notices the request to stop."""

    herald: Herald
    stop: Stop
    grace_s: float = _GRACE_S
    _stopped_s: float | None = None

    def beat(self) -> None:
        """Called several times a second.

        Raises:
            _Stopping: the grace after the request to stop is over.
        """
        self.herald.alive()
        if self.stop.is_set():
            self._stopped_s = self._stopped_s or time.monotonic()
            if time.monotonic() - self._stopped_s > self.grace_s:
                raise _Stopping

    def beat_in_a_hurry(self) -> None:
        """As `beat`, without any grace: nothing is lost yet."""
        self.herald.alive()
        if self.stop.is_set():
            raise _Stopping


class InferRoom:
    """What the room knows: its models and the processes that hold them."""

    def __init__(self, db: Database, clock: Clock, policy: Policy, residence: Residence, patience: Patience) -> None:
        self._db = db
        self._clock = clock
        self._policy = policy
        self._residence = residence
        self._patience = patience

    def preload(self) -> str:
        """Load the models that may run; return one line for people."""
        runnable = [model for model in self._policy.active_models if model.runs]
        problems = [f"{model.card.name} may not run" for model in self._policy.active_models if model.problem]
        told = self._residence.preload(runnable, self._patience.beat_in_a_hurry) + problems
        return ", ".join(told) or "no model is on"

    def end(self) -> None:
        """End every model process."""
        self._residence.end()

    def handling(self) -> Handling:
        """How this room treats `infer` items."""

        def reject(item: WorkItem, error: MatinsError) -> None:
            reading.reject(self._db, self._clock.now(), self._policy, item, error)

        def died(item: WorkItem, reason: str) -> None:
            reading.died(self._db, self._clock.now(), self._policy, item, reason)

        return Handling(
            kind=WorkKind.INFER,
            owner=f"{_OWNER}{os.getpid()}",
            lease_s=_LEASE_S,
            handle=self.read,
            reject=reject,
            died=died,
        )

    def read(self, item: WorkItem) -> None:
        """Have one study read by its model, and record the result.

        Raises:
            Unsuitable, Failed, Transient: as the model process says.
        """
        with self._db.transaction():
            outcome = reading.begin(self._db, self._clock.now(), item)
        if outcome is None:
            return
        model = self._model(outcome)
        job = self._job(outcome)
        try:
            reply = self._residence.child(model).ask(job, model.card.time_limit_s, self._patience.beat)
        except ModelDied as death:
            self._mourn(item, model, str(death))
            return
        except _Stopping:
            self._give_back(item, model)
            return
        self._record(item, outcome, job, reply)

    def _model(self, outcome: Outcome) -> Model:
        """The model as it was when the study was assigned to it; read anew where this room started with another.

        Raises:
            Failed: it is gone, may not run, or is another one now.
        """
        model = self._policy.model(outcome.model)
        if model is None or not _is_that_of(model, outcome):
            self._policy = load_policy(self._policy.settings)
            model = self._policy.model(outcome.model)
        if model is None:
            raise Failed(f"the model {outcome.model} is not there any more; `matins check` says why")
        if model.problem:
            raise Failed(model.problem)
        if not _is_that_of(model, outcome):
            raise Failed(f"{outcome.model} has changed since the study was given to it; `matins force` reads it again")
        return model

    def _job(self, outcome: Outcome) -> Job:
        held = instances.with_ids(self._db, outcomes.inputs(self._db, outcome.id))
        slices = [
            Slice(
                path=str(self._db.folder / each.path),
                instance=each.instance,
                role=outcome.roles.get(each.series_instance_uid, ""),
            )
            for each in held
            if each.instance
        ]
        if len(slices) < len(held) or not slices:
            raise Failed(f"{len(held) - len(slices)} of {len(held)} inputs are not described")
        return Job(id=str(outcome.id), slices=tuple(slices), stem=str(self._db.folder / _stem(outcome)))

    def _record(self, item: WorkItem, outcome: Outcome, job: Job, reply: Reply) -> None:
        if reply.kind is ReplyKind.UNSUITABLE:
            raise Unsuitable(reply.reason)
        if reply.kind is ReplyKind.TRANSIENT:
            raise Transient(reply.reason)
        if reply.kind is not ReplyKind.DONE:
            raise Failed(reply.reason)
        found = [_tracked(finding, outcome) for finding in reply.findings]
        made = [self._made(job, file) for file in reply.files]
        with self._db.transaction():
            kept = reading.complete(
                self._db, self._clock.now(), self._policy, item, found, made, reply.timings, reply.notes
            )
        if not kept:
            log.warning("result_not_wanted", work_item=f"{item.kind}:{item.subject}", study=item.study_instance_uid)
            return
        timings = {key: round(value, 3) for key, value in reply.timings.items()}
        log.info(
            "study_read",
            model=outcome.model,
            study=item.study_instance_uid,
            slices=len(job.slices),
            **timings,
        )

    def _made(self, job: Job, file: ReplyFile) -> MadeFile:
        """The file as the outcome keeps it.

        Raises:
            Failed: it lies where this study's files do not.
        """
        path = file_of(job.stem, file.kind)
        if str(path) != file.path:
            raise Failed(f"the model process names a {file.kind} that is not of this study")
        return MadeFile(kind=file.kind, path=str(path.relative_to(self._db.folder)), size=file.size, digest=file.digest)

    def _mourn(self, item: WorkItem, model: Model, reason: str) -> None:
        """The model process died over the item: the item is counted, and the next one finds a model loading."""
        log.error("model_died", model=model.card.name, study=item.study_instance_uid, reason=reason)
        with self._db.transaction():
            reading.died(self._db, self._clock.now(), self._policy, item, reason)
        self._residence.dismiss(model)
        with suppress(OSError):  # no memory for a process now: the next study asks again
            self._residence.child(model)

    def _give_back(self, item: WorkItem, model: Model) -> None:
        self._residence.dismiss(model)
        with self._db.transaction():
            work_items.give_back(self._db, self._clock.now(), item, "the infer room was stopped", wait_s=0)
            reading.await_another_try(self._db, self._clock.now(), item, "the infer room was stopped")


def _is_that_of(model: Model, outcome: Outcome) -> bool:
    return model.model_digest == outcome.model_digest and model.card_digest == outcome.card_digest


def _stem(outcome: Outcome) -> str:
    """How the names of its files begin, below the data folder: the same run has the same files."""
    return f"{artifacts.MASKS}/{derived_uid('mask', *_identity(outcome))}"


def _tracked(finding: Finding, outcome: Outcome) -> Finding:
    """Give the finding the identifiers by which reports refer to it (PS3.16 TID 1411, TID 1419)."""
    number = finding.segment_number or 0
    return replace(
        finding,
        tracking_identifier=f"{outcome.model} {finding.code.meaning}",
        tracking_uid=derived_uid("tracking", *_identity(outcome), number),
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
