"""Describing: every kept instance gets its typed header, read by a child with limits, in the background of receiving.

A process of its own below the listener, so that parsing never delays an answer to a scanner. It holds the database;
its own child parses. One header that kills that child costs one instance; the rest go on.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace

import structlog

from node import log as logging
from node.config import Settings
from node.domain.study import Instance
from node.domain.time import Clock, SystemClock
from node.domain.work import WorkKind
from node.errors import Failed, Transient
from node.loop import Herald, Stop, run, stop_on_signals
from node.receive.filing import Leftovers, filed
from node.receive.protocol import Answer, Job
from node.receive.reader import HeaderReader
from node.receive.rush import Courtesy
from node.store import instances, work_items
from node.store.database import Database, open_database
from node.store.instances import HeldInstance
from node.store.spool import Spool
from node.store.work_items import WorkItem
from node.workflow import prior_reading, rejection
from node.workflow.policy import Policies
from node.workflow.recovery import take_back

ROOM = "listen"
_OWNER = "describe:"
#: Items claimed at once, and the longest that answers wait to be written together.
_BATCH = 64
_WRITE_AFTER_S = 0.1
#: Behind an answer, but not behind every model on the machine.
_NICE = 10

#: What a description sets off, in the transaction that keeps it: the instance's row id, and what was described.
_TakeEffect = Callable[[int, Instance], None]

log = structlog.get_logger()


def describe_step(
    db: Database,
    clock: Clock,
    settings: Settings,
    reader: HeaderReader,
    stop: Stop,
    courtesy: Courtesy | None = None,
) -> Callable[[], bool]:
    """Return a step that describes one batch, once no rush is in the way; `True` if there was anything to describe."""
    owner = f"{_OWNER}{os.getpid()}"
    issuers = {peer.name: peer.issuer for peer in settings.peers}
    lease_s = (settings.receive.describe_limit_s + 10.0) * 3 * _BATCH
    leftovers = Leftovers()
    policy = Policies(settings).current

    def take_effect(instance_id: int, described: Instance) -> None:
        rejection.take_effect(db, clock.now(), settings, policy, instance_id, described)
        prior_reading.arrived(db, clock.now(), instance_id, described)

    at_once = _BATCH

    def step() -> bool:
        nonlocal at_once
        if courtesy is not None:
            courtesy.stand_back()
        items = work_items.claim(db, clock.now(), WorkKind.DESCRIBE, owner, lease_s, limit=at_once)
        left = deque(items)
        try:
            _describe(db, clock, left, issuers, reader, stop, take_effect)
            at_once = min(_BATCH, 2 * at_once)
        except Transient:
            # All of a batch lie on the disk beside the journal: on one that is nearly full there is room for fewer.
            at_once = max(1, at_once // 4)
            raise
        finally:
            if left:
                with db.transaction():
                    for item in left:
                        work_items.give_back(db, clock.now(), item, "not reached", wait_s=0 if stop.is_set() else None)
        return bool(items) or leftovers.file(db, Spool(db.folder), limit=at_once)

    return step


def _describe(
    db: Database,
    clock: Clock,
    left: deque[WorkItem],
    issuers: dict[str, str],
    reader: HeaderReader,
    stop: Stop,
    take_effect: _TakeEffect,
) -> None:
    """File and describe the items and record the answers as they come; what is recorded leaves `left`."""
    held = instances.with_ids(db, [int(item.subject) for item in left])
    paths = filed(Spool(db.folder), held)
    jobs = [
        Job(id=each.id, path=str(db.folder / path), issuer=issuers.get(each.source, ""))
        for each in held
        if not isinstance(path := paths[each.id], Failed)
    ]
    answered: list[Answer] = []
    written_s = time.monotonic()
    with closing(reader.read(jobs)) as answers:
        for answer in _in_order(held, paths, answers):
            answered.append(answer)
            if stop.is_set():
                break
            if time.monotonic() - written_s >= _WRITE_AFTER_S:
                _record(db, clock, left, answered, paths, take_effect)
                written_s = time.monotonic()
    _record(db, clock, left, answered, paths, take_effect)


def _in_order(
    held: Sequence[HeldInstance], paths: Mapping[int, str | Failed], answers: Iterator[Answer]
) -> Iterator[Answer]:
    """One answer an instance: what could not be filed is undescribable, unread."""
    for each in held:
        path = paths[each.id]
        yield Answer(id=each.id, undescribable=str(path)) if isinstance(path, Failed) else next(answers)
    # To its end: a reading that is given up costs the child.
    yield from answers


def _record(
    db: Database,
    clock: Clock,
    left: deque[WorkItem],
    answered: list[Answer],
    paths: Mapping[int, str | Failed],
    take_effect: _TakeEffect,
) -> None:
    """Finish as many items as there are answers, in order; nothing is written for one that was taken from us."""
    with db.transaction():
        for item, answer in zip(left, answered, strict=False):
            path = paths[answer.id]
            if not isinstance(path, Failed):
                instances.move(db, answer.id, path)
            if not work_items.finish(db, clock.now(), item, answer.undescribable):
                continue
            if answer.instance is not None:
                instances.record_description(db, answer.id, _without_references(answer.instance), ours=answer.ours)
                take_effect(answer.id, answer.instance)
            else:
                instances.record_undescribable(db, clock.now(), answer.id, answer.undescribable)
    for _ in answered:
        left.popleft()
    answered.clear()


def _without_references(described: Instance) -> Instance:
    """What a note names, thousands it may be, stands in a table of its own."""
    note = described.rejects
    return described if note is None else replace(described, rejects=replace(note, references=()))


def stand_behind_answers() -> None:
    """Take a lower priority, where the sandbox lets a process do so: describing can wait, an answer cannot."""
    with suppress(OSError):
        os.nice(_NICE)


def main() -> int:
    """Describe until SIGTERM, or until standard input ends with the listener; its first line is the settings."""
    settings = Settings.model_validate_json(sys.stdin.buffer.readline())
    logging.configure(ROOM)
    stand_behind_answers()
    stop = stop_on_signals()
    courtesy = Courtesy(stop.wait)
    threading.Thread(target=_hear, args=(stop, courtesy), name="listener-watch", daemon=True).start()
    clock = SystemClock()
    # Descriptions are made again from the spool if a power cut takes them.
    db = open_database(settings.data.folder, ROOM, sync_commits=False)
    take_back(db, clock.now(), _OWNER, (WorkKind.DESCRIBE,))
    with HeaderReader(settings.receive.describe_memory_bytes, settings.receive.describe_limit_s) as reader:
        run(db, describe_step(db, clock, settings, reader, stop, courtesy), stop, Herald())
    db.close()
    return 0


def _hear(stop: Stop, courtesy: Courtesy) -> None:
    """Mark each rush that the listener tells of, and end with it."""
    while os.read(0, 1 << 10):
        courtesy.mark()
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
