"""Comparisons with priors, one at a time, each in a process of its own that may be killed. It never waits for long."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import structlog
from pydantic import ValidationError

from node.catalogue import Model
from node.domain.alignment import Correspondence
from node.domain.finding import Finding
from node.domain.time import Clock
from node.domain.work import WorkKind
from node.errors import Failed
from node.infer.comparison import ANSWER, QUESTION, Question, Side
from node.infer.ledger import LEASE_S, job_of
from node.infer.messages import MASK, line
from node.infer.model_child import environment
from node.store import artifacts, instances, outcomes, work_items
from node.store.database import Database
from node.store.outcomes import Outcome
from node.store.work_items import WorkItem
from node.triage.change import changes
from node.triage.change_sizes import Read
from node.workflow import comparing
from node.workflow.comparing import Pairing
from node.workflow.policy import Policy, load_policy

COMMAND = (sys.executable, "-m", "node.infer.comparing_process")
#: A comparison takes some seconds; the report waits for it.
LIMIT_S = 120.0
#: How long the room waits for the process at a time.
_TICK_S = 0.025
_LONGEST_ANSWER = 1 << 24

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Running:
    item: WorkItem
    pairing: Pairing
    process: subprocess.Popen[bytes]
    question: IO[bytes]
    started_s: float
    kept_s: float
    answer: bytes = b""


class Comparer:
    """Claims `compare` items. For one thread alone."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        policy: Policy,
        owner: str,
        command: Sequence[str] = COMMAND,
        *,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._db = db
        self._clock = clock
        self.policy = policy
        self._owner = owner
        self._command = list(command)
        self._limit_s = limit_s
        self._running: _Running | None = None

    def step(self, *, waits: bool = True) -> bool:
        """Start a comparison, or listen to the one that runs, for a moment if it `waits`; `False` if there is none."""
        if self._running is not None:
            self._listen(self._running, _TICK_S if waits else 0.0)
            return True
        # A look costs less than a claim, which takes the write lock.
        if not work_items.open_subjects(self._db, WorkKind.COMPARE, limit=1):
            return False
        for item in work_items.claim(self._db, self._clock.now(), WorkKind.COMPARE, self._owner, LEASE_S):
            self._start(item)
            return True
        return False

    def end(self) -> None:
        """Asked to stop: what runs is given back."""
        running = self._running
        if running is None:
            return
        self._bury(running)
        with self._db.transaction():
            work_items.give_back(self._db, self._clock.now(), running.item, "the infer room was stopped", wait_s=0)

    def _start(self, item: WorkItem) -> None:
        with self._db.transaction():
            pairing = comparing.begin(self._db, self._clock.now(), item)
        if pairing is None:
            return
        if not pairing.is_same_model:
            self._keep(item, pairing, Correspondence(), 0.0)
            return
        try:
            question = self._question(pairing)
        except Failed as error:
            self._reject(item, str(error))
            return
        # A file, so that nobody waits while it is read.
        asked = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process is buried
        asked.write(line(QUESTION, question))
        asked.seek(0)
        process = subprocess.Popen(
            self._command, stdin=asked, stdout=subprocess.PIPE, env=environment(), start_new_session=True
        )
        now_s = time.monotonic()
        self._running = _Running(item, pairing, process, asked, now_s, now_s)

    def _question(self, pairing: Pairing) -> Question:
        model = self._model(pairing.outcome)
        return Question(
            card=model.card,
            now=self._side(pairing.outcome, pairing.found),
            before=self._side(pairing.prior, pairing.prior_found, may_be_gone=True),
        )

    def _model(self, outcome: Outcome) -> Model:
        """The model with the card that made the outcome; read anew where this room started with another."""
        for is_fresh in (False, True):
            if is_fresh:
                self.policy = load_policy(self.policy.settings)
            model = self.policy.model(outcome.model)
            if model is not None and model.card_digest == outcome.card_digest:
                return model
        raise Failed(f"the card of {outcome.model} has changed since it read the study")

    def _side(self, outcome: Outcome, found: tuple[Finding, ...], *, may_be_gone: bool = False) -> Side:
        held = instances.with_ids(self._db, outcomes.inputs(self._db, outcome.id))
        made = artifacts.of_outcome(self._db, outcome.id)
        mask = next((self._db.folder / each.path for each in made if each.kind == MASK and not each.freed_at), None)
        is_gone = any(each.freed_at for each in held) or (mask is not None and not mask.is_file())
        if is_gone and not may_be_gone:
            raise Failed("the files of the study are not here any more")
        if is_gone:
            return Side(findings=found)
        return Side(slices=job_of(self._db, outcome).slices, mask=str(mask or ""), findings=found)

    def _listen(self, running: _Running, wait_s: float) -> None:
        stream = running.process.stdout
        assert stream is not None
        now_s = time.monotonic()
        if now_s - running.kept_s > LEASE_S / 3:
            running.kept_s = now_s
            work_items.heartbeat(self._db, self._clock.now(), running.item, LEASE_S)
        readable, _, _ = select.select([stream.fileno()], [], [], wait_s)
        read = os.read(stream.fileno(), 1 << 16) if readable else None
        running.answer += read or b""
        if read == b"":
            self._heard(running)
        elif now_s - running.started_s > self._limit_s or len(running.answer) > _LONGEST_ANSWER:
            self._bury(running)
            self._died(running.item, f"the comparison did not end within {self._limit_s:g} s")

    def _heard(self, running: _Running) -> None:
        self._bury(running)
        duration_s = time.monotonic() - running.started_s
        try:
            answer = ANSWER.validate_json(running.answer)
        except ValidationError:
            how = running.process.returncode
            told = f"was killed by {signal.Signals(-how).name}" if how < 0 else f"ended with exit code {how}"
            self._died(running.item, f"the comparing process {told}" if not running.answer else "it answered garbage")
            return
        if answer.found is None:
            self._reject(running.item, answer.failed)
        else:
            self._keep(running.item, running.pairing, answer.found, duration_s)

    def _keep(self, item: WorkItem, pairing: Pairing, found: Correspondence, duration_s: float) -> None:
        now, before = _read(pairing, is_prior=False), _read(pairing, is_prior=True)
        made = changes(now, before, found)
        with self._db.transaction():
            comparing.complete(
                self._db, self._clock.now(), self.policy, item, pairing, made, found.alignment, duration_s
            )
        log.info(
            "study_compared",
            model=pairing.outcome.model,
            study=item.study_instance_uid,
            changes=len(made),
            duration_s=round(duration_s, 3),
        )

    def _reject(self, item: WorkItem, reason: str) -> None:
        log.warning("comparison_failed", study=item.study_instance_uid, reason=reason)
        with self._db.transaction():
            comparing.reject(self._db, self._clock.now(), item, reason)

    def _died(self, item: WorkItem, reason: str) -> None:
        log.error("comparison_died", study=item.study_instance_uid, reason=reason)
        with self._db.transaction():
            comparing.died(self._db, self._clock.now(), item, reason)

    def _bury(self, running: _Running) -> None:
        """End the process, if it has not ended, and whatever it has started."""
        self._running = None
        if running.process.stdout is not None and running.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                if running.answer:  # its channel closes a moment before it ends
                    running.process.wait(1.0)
        if running.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()
        running.question.close()
        if running.process.stdout is not None:
            running.process.stdout.close()


def _read(pairing: Pairing, *, is_prior: bool) -> Read:
    study = pairing.prior_study if is_prior else pairing.study
    outcome = pairing.prior if is_prior else pairing.outcome
    return Read(
        study_instance_uid=study.study_instance_uid,
        study_date=study.order.study_date,
        model=outcome.model,
        model_digest=outcome.model_digest,
        card_digest=outcome.card_digest,
        findings=pairing.prior_found if is_prior else pairing.found,
    )
