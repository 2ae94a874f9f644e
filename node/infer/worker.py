"""The infer room: claims studies, has model processes read them, and records what came of each.

Neither torch nor a volume is ever in this process: whatever a model does, the room goes on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import structlog

from node.config import Settings
from node.domain.time import SystemClock
from node.domain.work import WorkKind
from node.infer.admission import Residence
from node.infer.comparer import Comparer
from node.infer.ledger import Ledger
from node.infer.model_child import COMMAND
from node.infer.room import InferRoom
from node.loop import Herald, run, stop_on_signals
from node.store import artifacts, files
from node.store.database import open_database
from node.workflow import recovery
from node.workflow.policy import Policies

_OWNER = "infer:"
#: Below the data folder: what was measured of engines.
_EVIDENCE = "engines"

log = structlog.get_logger()


def main(settings: Settings, command: Sequence[str] = COMMAND) -> int:
    """Run the room until SIGTERM; `command` starts a model process."""
    db = open_database(settings.data.folder, "infer")
    clock = SystemClock()
    herald, stop = Herald(), stop_on_signals()
    residence = Residence(settings.infer, command, evidence=db.folder / _EVIDENCE)
    policies = Policies(settings)
    ledger = Ledger(db, clock, policies.current(), f"{_OWNER}{os.getpid()}")
    room = InferRoom(db, ledger, residence)
    comparer = Comparer(db, clock, ledger.policy, f"{_OWNER}{os.getpid()}")
    (db.folder / artifacts.MASKS).mkdir(exist_ok=True)
    files.sync_folder(db.folder)
    files.sweep_temporary(db.folder / artifacts.MASKS)
    recovery.take_back(db, clock.now(), _OWNER, (WorkKind.INFER, WorkKind.COMPARE))
    try:
        room.preload()
        opening = _Opening(room, herald)
        run(db, lambda: _step(opening, comparer, ledger, policies), stop, herald)
        room.drain(herald.alive)
    finally:
        herald.stopping()
        comparer.end()
        room.end()
        db.close()
    return 0


class _Opening:
    """The room from its first step on: it works at once, and tells that it is ready once its models are loaded."""

    def __init__(self, room: InferRoom, herald: Herald) -> None:
        self._room, self._herald = room, herald
        self._told = False

    def step(self) -> bool:
        """See `InferRoom.step`."""
        if not self._told and (line := self._room.loaded()):
            self._told = True
            self._herald.ready(line)
        return self._room.step()


def _step(opening: _Opening, comparer: Comparer, ledger: Ledger, policies: Policies) -> bool:
    ledger.policy = comparer.policy = policies.renew(ledger.policy)
    is_busy = opening.step()
    # A model that answers is heard at once.
    return comparer.step(waits=not is_busy) or is_busy
