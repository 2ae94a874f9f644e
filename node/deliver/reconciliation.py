"""A destination is asked as whom it files a study before anything of it is sent there (`reconcile` of the peer)."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from node.config import Peer, Settings
from node.deliver.dialogue import NotOffered
from node.deliver.lifeline import IDLE_S, MARGIN_S, Pulse
from node.deliver.oversight import Leave, Permit
from node.deliver.query import filed_as
from node.domain.time import Clock
from node.errors import Failed, Transient
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.workflow import reconciliation
from node.workflow.reconciliation import Course

log = structlog.get_logger()


class Reconciling:
    """Lets a study leave once it is known as whom its destination files it, and its results say the same."""

    def __init__(self, db: Database, clock: Clock, settings: Settings, peer: Peer, *, pulse: Pulse) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._peer = peer
        self._pulse = pulse

    def permit(self, study_instance_uid: str, rows: Sequence[OutboxRow]) -> Permit:
        """Say whether these results of one study may leave.

        Raises:
            Transient: the destination does not answer now.
        """
        name = self._peer.name
        ruling = reconciliation.rule(self._db, self._clock.now(), name, study_instance_uid, rows)
        if ruling.course is Course.ASK:
            self._ask(study_instance_uid)
            ruling = reconciliation.rule(self._db, self._clock.now(), name, study_instance_uid, rows)
        if ruling.course is Course.REBUILD:
            reconciliation.order_rebuilding(self._db, self._clock.now(), ruling.rows)
            log.info("results_rebuilt", destination=name, study=study_instance_uid, results=len(ruling.rows))
        leave = {Course.GO: Leave.YES, Course.HOLD: Leave.HOLD}.get(ruling.course, Leave.WAIT)
        if leave is Leave.HOLD:
            log.error("results_held", destination=name, study=study_instance_uid, reason=ruling.reason)
        return Permit(leave, ruling.reason)

    def _ask(self, study_instance_uid: str) -> None:
        limits = self._settings.deliver
        self._pulse.quiet_for(2 * limits.connect_s + 3 * limits.dimse_s + MARGIN_S)
        try:
            filed = filed_as(self._peer, self._settings.node.ae_title, limits, study_instance_uid)
        except NotOffered as error:
            remedy = "Let it answer Study Root queries of ours, or set the peer's reconcile to false"
            raise Transient(f"{error}: nobody knows as whom it files the study. {remedy}") from error
        except Failed as error:
            raise Transient(str(error)) from error
        finally:
            self._pulse.quiet_for(IDLE_S)
        reconciliation.record(self._db, self._clock.now(), self._peer.name, study_instance_uid, filed)
