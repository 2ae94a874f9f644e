"""Which study has the network, which waits with its pixels read, and which has to stand back for a more urgent one.

One thread, one loop: studies under way are a stack, of which the top one computes. A more urgent study is laid on top
at once. Is it for the same model, its process reads it in the midst of the other; else that process is paused.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from node.catalogue import Model
from node.errors import Failed, Transient
from node.infer.admission import Residence
from node.infer.ledger import LEASE_S, Ledger
from node.infer.messages import LAST_REPLIES, OrderKind, Reply, ReplyKind
from node.infer.model_child import ModelChild, ModelDied
from node.infer.stack import Stack, together
from node.infer.turn import Turn
from node.store.database import Database
from node.store.work_items import WorkItem

#: How often the room looks up while a model works: for more urgent studies, and for models out of time.
_TICK_S = 0.025
#: What becomes claimable by the passing of time alone is found after this.
_LOOK_S = 1.0
#: Asked to stop, the room lets studies end for this long, then gives them back; less than the supervisor's patience.
GRACE_S = 15.0

log = structlog.get_logger()


class InferRoom:
    """The studies under way and the processes that read them. For the main thread alone."""

    def __init__(self, db: Database, ledger: Ledger, residence: Residence) -> None:
        self._db = db
        self._ledger = ledger
        self._residence = residence
        self._stack = Stack()
        #: Claimed, and read ahead where that can be: the next to compute.
        self._ahead: Turn | None = None
        #: Computed; their files are being written.
        self._writing: list[Turn] = []
        #: Jobs that were in a process that died: read without company, so that the next death has one cause.
        self._alone: set[str] = set()
        #: Jobs whose process was killed, as the kernel does when memory runs out.
        self._starved: set[str] = set()
        self._seen_version = -1
        self._looked_s = self._kept_s = 0.0

    def preload(self) -> None:
        """Have the models that may run loaded, beside what there is to do: what is loaded works while others load."""
        self._residence.want(self._may_run())

    def loaded(self) -> str:
        """One line for people once all that was to be loaded is, or cannot be; empty before."""
        if self._residence.loads:
            return ""
        active = self._ledger.policy.active_models
        problems = [f"{model.card.name} may not run" for model in active if model.problem]
        return ", ".join([*map(self._residence.told, self._may_run()), *problems]) or "no model is on"

    def _may_run(self) -> list[Model]:
        return [model for model in self._ledger.policy.active_models if model.runs]

    def step(self) -> bool:
        """Do what can be done now, waiting for a moment where a model works; `False` if there is nothing to do."""
        self._keep_leases()
        self._look_around()
        self._advance()
        self._residence.load()
        if not self._residence.loads and not self._under_way():
            return False
        self._listen()
        return True

    def drain(self, beat: Callable[[], None], grace_s: float = GRACE_S) -> None:
        """Asked to stop: let what is under way end within the grace, and give back the rest."""
        deadline_s = time.monotonic() + grace_s
        if self._ahead is not None:
            turn, self._ahead = self._ahead, None
            self._ledger.give_back(turn, "the infer room was stopped")
        while self._under_way() and time.monotonic() < deadline_s:
            beat()
            try:
                self._keep_leases()
                self._listen()
            except Transient as error:
                log.warning("step_waits", reason=str(error))
        for turn in self._under_way():
            if turn.child is not None:
                self._forget(turn.child)
            self._leave(turn)
            self._ledger.give_back(turn, "the infer room was stopped")

    def end(self) -> None:
        """End every model process."""
        self._residence.end()

    def _under_way(self) -> list[Turn]:
        return [*self._writing, *self._stack.turns, *([self._ahead] if self._ahead is not None else [])]

    def _keep_leases(self) -> None:
        if time.monotonic() - self._kept_s > LEASE_S / 3:
            self._kept_s = time.monotonic()
            for turn in self._under_way():
                self._ledger.keep(turn)

    def _look_around(self) -> None:
        """Claim what may begin, or be read ahead, if anything can have changed."""
        version, now_s = self._db.data_version(), time.monotonic()
        if self._under_way() and version == self._seen_version and now_s - self._looked_s < _LOOK_S:
            return
        self._seen_version, self._looked_s = version, now_s
        for turn in self._under_way():
            turn.lane = self._ledger.lane(turn.item.study_instance_uid)
        item = self._claim()
        if item is None:
            return
        self._look_again()
        begun = self._ledger.begin(item)
        if begun is not None and self._ahead is not None:
            self._start(begun)
        else:
            self._ahead = begun

    def _claim(self) -> WorkItem | None:
        """What may begin, or be read ahead, beside what is under way: nothing for spare time beside what is awaited."""
        top, ahead = self._stack.top, self._ahead
        if ahead is None:
            return self._ledger.claim(None, awaited=top is not None and not top.is_spare)
        if top is None:
            return self._ledger.claim(None, awaited=True) if ahead.is_spare else None
        if top.is_spare:
            return self._ledger.claim(None, awaited=True)
        return self._ledger.claim(top.lane, awaited=True) if top.lane.order else None

    def _look_again(self) -> None:
        self._looked_s = 0.0

    def _advance(self) -> None:
        """Start the next study if the network is free for it; else see that its pixels are read."""
        turn = self._ahead
        if turn is None:
            return
        top = self._stack.top
        overtakes = top is not None and turn.urgency < top.urgency
        if overtakes or (top is None and self._has_room(turn)):
            self._ahead = None
            self._start(turn)
        elif turn.child is None and turn.job.id not in self._alone and self._has_room(turn):
            self._prepare(turn)

    def _has_room(self, turn: Turn) -> bool:
        """Whether its process has the memory, and no company that the study, or the company, must not have."""
        if any(child.owes for child in self._residence.making_room(turn.model)):
            return False
        company = [each for each in self._under_way() if each is not turn and each.process == turn.process]
        return not company or not self._alone & {each.job.id for each in (turn, *company)}

    def _prepare(self, turn: Turn) -> bool:
        """Tell its process of a study; `False` if there can be none, and then the study is given back."""
        try:
            turn.child = self._residence.child(turn.model, frugal=turn.job.id in self._starved)
        except OSError as error:
            self._leave(turn)
            self._ledger.reject(turn, Transient(f"a model process cannot be started: {error.strerror}"))
            return False
        turn.child.order(OrderKind.PREPARE, turn.job)
        return True

    def _start(self, turn: Turn) -> None:
        """Give it the network, over whatever has it."""
        for child in self._residence.making_room(turn.model):
            if child.owes:
                for cleared in self._forget(child):
                    self._ledger.give_back(cleared, "made room for more urgent work")
        if turn.child is None and not self._prepare(turn):
            return
        assert turn.child is not None
        if not turn.child.ready:
            turn.awaits_model_since_s = time.monotonic()
        self._stack.push(turn, turn.child, self._company(turn, turn.child))
        self._look_again()

    def _company(self, turn: Turn, child: ModelChild) -> list[Turn]:
        """Claim what may be answered in one pass with a study: only what waits already, and is as urgent."""
        most = together(turn, child, self._residence.most_together)
        if most < 2 or self._stack.turns or turn.job.id in self._alone:
            return []
        company = self._ledger.claim_company(turn, most - 1, but=self._alone)
        for each in company:
            each.child, each.in_company = child, True
            child.order(OrderKind.PREPARE, each.job)
        turn.in_company = bool(company)
        return company

    def _listen(self) -> None:
        children = self._residence.children
        writable = [child.writable for child in children if child.writable is not None]
        select.select([child.readable for child in children], writable, [], _TICK_S)
        for child in children:
            if child not in self._residence.children:
                continue  # it made room for one that was started over another's end
            try:
                for reply in child.heard():
                    self._take(child, reply)
            except Failed as error:
                self._refused(child, error)
            except ModelDied as death:
                self._bury(child, death, self._culprit(child, death))
            else:
                self._stack.go_on(child)
        now_s = time.monotonic()
        late = next((turn for turn in self._under_way() if turn.is_late(now_s)), None)
        if late is not None and late.child is not None:
            culprit = None if late.is_one_of_several else late
            self._bury(late.child, late.child.killed(f"did not end within {late.limit_s:g} s"), culprit)

    def _take(self, child: ModelChild, reply: Reply) -> None:
        if reply.kind is ReplyKind.PAUSED:
            self._stack.paused(child)
            return
        turn = next(each for each in self._under_way() if each.job.id == reply.id)
        if reply.kind is ReplyKind.STARTED:
            self._stack.started(child, turn)
            if turn.awaits_model_since_s is not None:
                turn.load_s = time.monotonic() - turn.awaits_model_since_s
            return
        self._leave(turn)
        if reply.kind in LAST_REPLIES:
            self._alone.discard(turn.job.id)
            self._starved.discard(turn.job.id)
            self._ledger.finish(turn, reply)
        else:
            self._writing.append(turn)

    def _leave(self, turn: Turn) -> None:
        """It no longer computes, waits or writes."""
        if turn in self._writing:
            self._writing.remove(turn)
        if self._ahead is turn:
            self._ahead = None
        self._stack.remove(turn)
        self._look_again()

    def _forget(self, child: ModelChild) -> list[Turn]:
        """End a process; return what was in it."""
        left = [turn for turn in self._under_way() if turn.child is child]
        self._residence.dismiss(child)
        for turn in left:
            self._leave(turn)
        self._stack.forget(child)
        return left

    def _refused(self, child: ModelChild, error: Failed) -> None:
        """The model cannot be loaded: the study that waited for it fails, and others find out for themselves."""
        self._not_loaded(child, error)
        left = self._forget(child)
        for turn in left[:1]:
            self._ledger.reject(turn, error)
        for turn in left[1:]:
            self._ledger.give_back(turn, str(error))

    def _not_loaded(self, child: ModelChild, why: Exception) -> None:
        log.error("model_not_loaded", model=child.model.card.name, reason=str(why))
        self._residence.broken(child)

    def _culprit(self, child: ModelChild, death: ModelDied) -> Turn | None:
        """The study over which a process died: what it computed, else what it wrote or read ahead."""
        current = self._stack.current(child)
        if current is not None and not current.runs and child.ready and death.for_memory:
            return None  # it waited: somebody else took the memory
        if current is not None and current.is_one_of_several:
            return None  # nobody can say whose fault it was: each is read alone now
        left = [turn for turn in self._under_way() if turn.child is child]
        return current or (left[0] if left else None)

    def _bury(self, child: ModelChild, death: ModelDied, culprit: Turn | None) -> None:
        """A process died: one study is counted, or any that has died before; the next finds a model loading."""
        if not child.ready:
            self._not_loaded(child, death)
        left = self._forget(child)
        for turn in left:
            counted = turn is culprit or turn.job.id in self._alone
            self._alone.add(turn.job.id)
            if counted and death.for_memory:
                self._starved.add(turn.job.id)
            if counted:
                self._ledger.died(turn, str(death))
            else:
                self._ledger.give_back(turn, f"{death}, over another study")
        if left and not any(each.owes for each in self._residence.making_room(child.model)):
            with suppress(OSError):  # no memory for a process now: the next study asks again
                self._residence.child(child.model)
