"""The Unified Procedure Step SCP (PS3.4 Annex CC): Push, Pull, Watch and Query. Loaded with its first request.

We are its manager: the worklist of what is to be read, and what peers ask of each other. Reports go out by the deliver
room.
"""

from __future__ import annotations

from collections.abc import Iterator

from node.config import Settings
from node.domain.ups import PULL, PUSH, QUERY, WATCH
from node.receive.intakes import Part, Reply, Request, Running
from node.receive.keeper import Keeper

NAME = "ups"
SOP_CLASSES = (PUSH, WATCH, PULL, QUERY)
#: PS3.4 Tables CC.2-1 to CC.2-5.
OPERATIONS = {
    PUSH: ("N-CREATE", "N-ACTION", "N-GET"),
    PULL: ("C-FIND", "N-GET", "N-SET", "N-ACTION"),
    WATCH: ("C-FIND", "N-GET", "N-ACTION"),
    QUERY: ("C-FIND",),
}


def start(settings: Settings, keeper: Keeper) -> Running | None:  # noqa: ARG001
    """Nothing listens but the DICOM port."""
    return None


def answer(settings: Settings, keeper: Keeper, request: Request) -> Reply:
    """Answer N-CREATE, N-SET, N-GET and N-ACTION; what it changes is durable before success is answered.

    Raises:
        Refused: with the status and the reason.
        Transient: the database stayed busy.
    """
    from node.receive.ups import service

    return service.answer(settings, keeper, request)


def parts(settings: Settings, keeper: Keeper, request: Request) -> Iterator[Part]:
    """Answer C-FIND.

    Raises:
        Refused: with the status and the reason.
        Transient: the database stayed busy.
    """
    from node.receive.ups import worklist

    return worklist.parts(settings, keeper, request)
