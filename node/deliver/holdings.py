"""What the children of the room hold while they send: results of the outbox, or notices of the reading list."""

from __future__ import annotations

from typing import Protocol

from node.config import DeliverSettings
from node.deliver.backoff import backoff_s
from node.domain.notice import NoticeState
from node.domain.time import Clock
from node.domain.work import ResultState
from node.store import notices, outbox
from node.store.database import Database


class Holdings(Protocol):
    """How rows are taken from a child that is gone."""

    def release(self, owner: str) -> None:
        """It ended in good order: what it held is free."""
        ...

    def put_back(self, owner: str, name: str, how: str) -> None:
        """It died: whatever killed it may lie in what it held, which waits the longer the oftener it was tried."""
        ...


class Results:
    """Rows of the outbox."""

    def __init__(self, db: Database, clock: Clock, limits: DeliverSettings) -> None:
        self._db = db
        self._clock = clock
        self._limits = limits

    def release(self, owner: str) -> None:
        """Drop the leases."""
        outbox.release(self._db, owner)

    def put_back(self, owner: str, name: str, how: str) -> None:
        """Queue the rows again, later."""
        with self._db.transaction():
            for row in outbox.owned(self._db, owner):
                reason, wait_s = _again(name, how), _wait_s(self._limits, row.attempts)
                outbox.move(self._db, self._clock.now(), row, ResultState.QUEUED, reason, wait_s=wait_s)


class Notices:
    """Notices of the reading list."""

    def __init__(self, db: Database, clock: Clock, limits: DeliverSettings) -> None:
        self._db = db
        self._clock = clock
        self._limits = limits

    def release(self, owner: str) -> None:
        """Drop the leases."""
        notices.release(self._db, owner)

    def put_back(self, owner: str, name: str, how: str) -> None:
        """Let the notices wait; one that was on its way may have arrived."""
        with self._db.transaction():
            for notice in notices.owned(self._db, owner):
                reason, wait_s = _again(name, how), _wait_s(self._limits, notice.attempts)
                after = NoticeState.SENT if notice.sent_at else NoticeState.QUEUED
                notices.move(self._db, self._clock.now(), notice, after, reason, wait_s=wait_s)


def _again(name: str, how: str) -> str:
    return f"sending to {name} is tried again: {how}"


def _wait_s(limits: DeliverSettings, attempts: int) -> float:
    return backoff_s(attempts, first_s=limits.backoff_s, maximum_s=limits.backoff_maximum_s)
