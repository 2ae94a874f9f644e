"""What one destination is asked around the sending: whose a study is there, whether it has an object, what it keeps."""

from __future__ import annotations

from collections.abc import Sequence

from node.config import Peer, Settings
from node.deliver.confirming import Confirming
from node.deliver.lifeline import IDLE_S, MARGIN_S, Pulse
from node.deliver.oversight import Oversight, Permit
from node.deliver.query import is_held, place_of
from node.deliver.reconciliation import Reconciling
from node.deliver.stored import StoredHeader
from node.domain.time import Clock
from node.errors import Failed
from node.loop import Stop
from node.store.database import Database
from node.store.outbox import OutboxRow


class Watch(Oversight):
    """The oversight of a destination that has a DICOM port; of one without, everything passes."""

    def __init__(self, db: Database, clock: Clock, settings: Settings, peer: Peer, *, stop: Stop, pulse: Pulse) -> None:
        self._settings = settings
        self._peer = peer
        self._pulse = pulse
        self._confirming = Confirming(db, clock, settings, peer, stop=stop, pulse=pulse)
        self._reconciling = Reconciling(db, clock, settings, peer, pulse=pulse)

    def permit(self, study_instance_uid: str, rows: Sequence[OutboxRow]) -> Permit:
        """Ask as whom the destination files the study, where the peer says so."""
        return self._reconciling.permit(study_instance_uid, rows) if self._peer.reconcile else Permit()

    def holds(self, row: OutboxRow, stored: StoredHeader) -> bool | None:  # noqa: ARG002
        """Ask whether the destination has this very SOP Instance."""
        if not (self._peer.host and self._peer.port):
            return None
        limits = self._settings.deliver
        self._pulse.quiet_for(2 * limits.connect_s + 3 * limits.dimse_s + MARGIN_S)
        try:
            return is_held(self._peer, self._settings.node.ae_title, limits, place_of(stored.path))
        except Failed:
            return None
        finally:
            self._pulse.quiet_for(IDLE_S)

    def step(self) -> bool:
        """Have confirmed what is due."""
        return self._confirming.step()
