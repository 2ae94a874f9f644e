"""The door of every room: `python -m node ROOM`, for `matins serve`, systemd and a person alike.

A room's module is named as text and imported here alone: no other module of a room is loaded with it, nor typer.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import structlog

from node import log
from node.commands.site import settings_from
from node.errors import MatinsError, Misconfigured
from node.supervisor import ROOMS, SUPERVISED

#: Room → the module whose `main(settings) -> int` runs it.
ENTRANCES = {
    "listen": "node.receive.listener",
    "retrieve": "node.retrieve.worker",
    "infer": "node.infer.worker",
    "report": "node.report.worker",
    "deliver": "node.deliver.worker",
    "clock": "node.clock.worker",
    "web": "node.web.server",
}
assert tuple(ENTRANCES) == ROOMS

#: A room that outlives its supervisor has this long to end in good order.
_DRAIN_S = 30.0


def main(arguments: Sequence[str]) -> int:
    """Run the room that `arguments` name, as on the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m node", description="Run one room of Matins in the foreground.")
    parser.add_argument("room", choices=sorted(ENTRANCES))
    parser.add_argument("--config", type=Path, help="config.toml; default: the one here, else the checkout's")
    parser.add_argument("--data", type=Path, help="data folder, instead of [data] folder")
    parser.add_argument("--quiet", type=float, metavar="SECONDS", help="takes the place of every quiet time")
    given = parser.parse_args(arguments)
    return run_room(given.room, given.config, given.data, given.quiet)


def run_room(room: str, config: Path | None, data: Path | None, quiet_s: float | None) -> int:
    """Run one room until SIGTERM; return the exit code: 0 ended when asked, 1 failed, 2 bad settings."""
    faulthandler.enable()
    log.configure(room)
    sys.excepthook = _log_crash
    if os.environ.pop(SUPERVISED, ""):
        threading.Thread(target=_end_with_the_supervisor, name="supervisor-watch", daemon=True).start()
    try:
        settings = settings_from(config, data, quiet_s)
        code: int = importlib.import_module(ENTRANCES[room]).main(settings)
    except Misconfigured as error:
        print(f"matins {room}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 2
    except MatinsError as error:
        print(f"matins {room}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 1
    return code


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An error that nobody foresaw is one line of the log, like everything else."""
    structlog.get_logger().critical("room_crashed", exc_info=(kind, error, trace))


def _end_with_the_supervisor() -> None:
    """Ask for an orderly end when the supervisor's end of our standard input closes, and insist on it later."""
    # Not sys.stdin: its lock, held by a daemon thread, would break the interpreter's own end.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_DRAIN_S)
    os.killpg(0, signal.SIGKILL)
