"""Our own list as the manager of steps that we perform: the same moves as for peers, without a network between."""

from __future__ import annotations

from collections.abc import Callable

from node.domain.dicom_json import Attributes, text
from node.domain.time import Clock
from node.domain.ups import UpsState, UpsStatus
from node.domain.ups_attributes import READINESS
from node.store import ups
from node.store.database import Database
from node.workflow import performing
from node.workflow.policy import Policy


class OwnList:
    """Steps that peers made in our own list; those to read a study are for people."""

    def __init__(self, db: Database, clock: Clock, policy: Callable[[], Policy]) -> None:
        self._db = db
        self._clock = clock
        self._policy = policy

    def offered(self) -> list[Attributes]:
        """Steps that are SCHEDULED and ready."""
        rows = ups.shown(self._db, states=[UpsState.SCHEDULED])
        return [row.attributes for row in rows if not row.number and text(row.attributes, READINESS) == "READY"]

    def read(self, uid: str) -> tuple[int, Attributes]:
        """One step, all that it says."""
        row = ups.step(self._db, uid)
        return (UpsStatus.NO_SUCH_UPS, {}) if row is None else (UpsStatus.SUCCESS, row.attributes)

    def move(self, uid: str, state: UpsState, transaction_uid: str) -> int:
        """Claim a step, complete or cancel it."""
        policy = self._policy()
        with self._db.transaction():
            status, _ = performing.change_state(
                self._db, self._clock.now(), lambda: policy, uid, state, transaction_uid,
                performer=policy.settings.node.ae_title,
            )  # fmt: skip
        return status

    def tell(self, uid: str, said: Attributes) -> int:
        """Set attributes; the Transaction UID is among them."""
        with self._db.transaction():
            return performing.set_attributes(self._db, self._clock.now(), uid, said)[0]

    def watch(self, uid: str) -> int:  # noqa: ARG002
        """Nothing: whoever wants a step canceled that is ours writes it down with us."""
        return UpsStatus.SUCCESS
