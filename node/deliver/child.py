"""The process of one destination: started by the room with an errand on standard input, ended by SIGTERM."""

from __future__ import annotations

import faulthandler
import logging
import os
import resource
import sys
import threading
import warnings
from collections.abc import Callable

from node import log
from node.config import Peer, Settings
from node.deliver.destination import Destination
from node.deliver.lifeline import Pulse, end_with_the_room, owner_of, receive_errand
from node.deliver.watch import Watch
from node.domain.time import Clock, SystemClock
from node.loop import Stop, run, stop_on_signals
from node.store.database import Database, open_database

#: Whatever a peer sends, this process grows no further: bytes of address space, and copies of the largest object.
_MEMORY_BYTES = 768 << 20
_COPIES = 6


#: What makes the step of a child's loop: connection, clock, settings, peer, stop, pulse.
Making = Callable[[Database, Clock, Settings, Peer, Stop, Pulse], Callable[[], bool]]


def main() -> int:
    """Serve one destination until SIGTERM, or until the room is gone; return the exit code."""
    return serve(_destination)


def serve(making: Making) -> int:
    """Run a child of the room for the peer of its errand until SIGTERM, or until the room is gone."""
    faulthandler.enable()
    log.configure("deliver")
    # It logs a line or more a failed attempt; ours says the same once, with the remedy.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    # It quotes the values that it complains about: names and IDs among them.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    stop = stop_on_signals()
    errand = receive_errand()
    threading.Thread(target=end_with_the_room, name="lifeline", daemon=True).start()
    peer = errand.settings.peer_named(errand.destination)
    assert peer is not None
    pulse = Pulse(sys.stdout.fileno())
    db = open_database(errand.settings.data.folder, "deliver")
    step = making(db, SystemClock(), errand.settings, peer, stop, pulse)
    _limit_memory(0)
    pulse.ready("")
    run(db, step, stop, pulse)
    db.close()
    return 0


def _destination(
    db: Database, clock: Clock, settings: Settings, peer: Peer, stop: Stop, pulse: Pulse
) -> Callable[[], bool]:
    destination = Destination(
        db,
        clock,
        settings,
        peer,
        owner=owner_of(os.getpid()),
        stop=stop,
        pulse=pulse,
        limit_memory=_limit_memory,
        oversight=Watch(db, clock, settings, peer, stop=stop, pulse=pulse),
    )
    return destination.step


def _limit_memory(largest_bytes: int) -> None:
    soft = _MEMORY_BYTES + _COPIES * largest_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


if __name__ == "__main__":
    sys.exit(main())
