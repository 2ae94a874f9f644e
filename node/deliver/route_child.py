"""The process of one route: started by the room with an errand on standard input, ended by SIGTERM."""

from __future__ import annotations

import faulthandler
import os
import resource
import sys
import threading

from node import log
from node.deliver.digests import DigestQueue
from node.deliver.lifeline import Pulse, end_with_the_room, owner_of, receive_errand
from node.deliver.route import RouteQueue
from node.domain.time import SystemClock
from node.loop import run, stop_on_signals
from node.store.database import open_database

#: Whatever a receiver answers, this process grows no further: bytes of address space.
_MEMORY_BYTES = 768 << 20


def main() -> int:
    """Serve one route until SIGTERM, or until the room is gone; return the exit code."""
    faulthandler.enable()
    log.configure("deliver")
    stop = stop_on_signals()
    errand = receive_errand()
    threading.Thread(target=end_with_the_room, name="lifeline", daemon=True).start()
    route = errand.settings.route_named(errand.destination)
    assert route is not None
    pulse = Pulse(sys.stdout.fileno())
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (min(_MEMORY_BYTES, hard) if hard >= 0 else _MEMORY_BYTES, hard))
    db = open_database(errand.settings.data.folder, "deliver")
    owner = owner_of(os.getpid())
    queue = RouteQueue(db, SystemClock(), errand.settings, route, owner=owner, stop=stop, pulse=pulse)
    letters = DigestQueue(db, SystemClock(), errand.settings, route, pulse=pulse)
    pulse.ready("")
    run(db, lambda: queue.step() or letters.step(), stop, pulse)
    db.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
