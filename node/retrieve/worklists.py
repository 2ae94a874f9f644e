"""Work items `worklist`: who is scheduled on a day; priors and history of each are then asked for in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

from node.config import Peer
from node.domain.scheduled import Scheduled
from node.domain.time import Clock
from node.domain.work import WorkKind
from node.errors import Failed, Transient
from node.loop import Handling
from node.retrieve import calls
from node.retrieve.found import FoundStep
from node.retrieve.inquiry import handling_of
from node.retrieve.question import Reply, WorklistQuery
from node.store import events, work_items
from node.store.database import Database
from node.store.work_items import WorkItem
from node.triage.nights import moment_of
from node.workflow import expecting
from node.workflow.policy import Policy

#: Two hours and a half of growing waits: a worklist that is being backed up by night is back by then.
_TRIES = 38
#: Studies that one transaction writes.
_BATCH = 50

#: Asks one worklist.
Ask = Callable[[WorklistQuery], Reply]


class Worklists:
    """Work items `worklist`, each of one peer and day."""

    def __init__(self, db: Database, clock: Clock, policy: Callable[[], Policy], ask: Ask) -> None:
        self._db = db
        self._clock = clock
        self._policy = policy
        self._ask = ask

    def handling(self) -> Handling:
        """How the loop treats these items."""
        return handling_of(self._db, self._clock, WorkKind.WORKLIST, self.handle, self._fail)

    def handle(self, item: WorkItem) -> None:
        """Ask, and keep who is scheduled; the item is finished with the last of them.

        Raises:
            Failed: nobody is asked, or the worklist will never answer as it is set up.
            Transient: it does not answer now, and the day is not over.
        """
        policy = self._policy()
        name, day = expecting.meant_by(item.subject)
        peer = next((each for each in expecting.worklists(policy.settings) if each.name == name), None)
        if peer is None:
            raise Failed(f"no peer {name} with the role {expecting.ROLE} is configured")
        is_over = moment_of(day + timedelta(days=1), policy.settings.night.morning_at, policy.settings.night.zone)
        if is_over is not None and self._clock.now().wall >= is_over:
            raise Failed("the day is over")
        try:
            reply = self._ask(calls.worklist_query(policy.settings, peer, day))
        except Transient as error:
            tries = work_items.passing_faults(self._db, item) + 1
            if tries < _TRIES:
                raise
            raise Failed(f"{error}; asked {tries} times") from error
        told, doubted = scheduled_by(peer, policy, reply.scheduled)
        asked = 0
        for start in range(0, len(told), _BATCH):
            with self._db.transaction():
                asked += expecting.take(self._db, self._clock.now(), policy, told[start : start + _BATCH])
        with self._db.transaction():
            reasons = {**reply.disbelieved, **({"two patients under one study": doubted} if doubted else {})}
            doubts = [f"{number} answer(s) not believed: {reason}" for reason, number in reasons.items()]
            said = f"{len(told)} study(ies) scheduled, priors and history asked for {asked}"
            work_items.finish(self._db, self._clock.now(), item, "; ".join([said, *doubts]))

    def _fail(self, item: WorkItem, error: Exception) -> None:
        now, reason = self._clock.now(), str(error)
        if work_items.park(self._db, now, item, reason):
            events.record(self._db, now, "worklist", item.subject, after="not asked", reason=reason)


def scheduled_by(peer: Peer, policy: Policy, steps: Iterable[FoundStep]) -> tuple[list[Scheduled], int]:
    """The studies that these steps are of, each once, at the time of its first step; the peer's clock counts.

    Of a study under which two patients are told nobody is believed; the second value says of how many.
    """
    night = policy.settings.night
    zone = calls.zone_of(peer) or night.zone
    by_study: dict[str, list[FoundStep]] = {}
    for step in steps:
        if expecting.moment(step.start_date, step.start_time, zone) is not None:
            by_study.setdefault(step.study_instance_uid, []).append(step)
    told = []
    certain = {uid: found for uid, found in by_study.items() if len({each.patient for each in found}) == 1}
    for uid, found in certain.items():
        first = min(found, key=lambda each: (each.start_date, each.start_time))
        begins = expecting.moment(first.start_date, first.start_time, zone)
        assert begins is not None
        told.append(
            Scheduled(
                study_instance_uid=uid,
                peer=peer.name,
                patient=expecting.with_issuer(first.patient, peer),
                accession_number=first.accession_number,
                modalities=tuple(dict.fromkeys(each.modality for each in found if each.modality)),
                description=first.description,
                scheduled_at=begins,
                requested_priority=first.requested_priority,
                reason=first.reason,
            )
        )
    return told, len(by_study) - len(certain)
