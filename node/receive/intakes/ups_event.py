"""Reports on Unified Procedure Steps that we perform (PS3.4 §CC.2.4), from the managers that have them.

We are the SCU: what is taken is N-EVENT-REPORT alone, from who takes the role of SCP. That somebody wants a step of
ours canceled is kept; how a step stands is looked up by whoever performs it.
"""

from __future__ import annotations

from contextlib import closing

from node.config import Settings
from node.domain.ups import EVENT, Report
from node.errors import Refused
from node.receive import status
from node.receive.intakes import Reply, Request, Running
from node.receive.keeper import Keeper
from node.store import performing
from node.store.database import open_database

NAME = "ups_event"
#: UPS Event SOP Class.
SOP_CLASSES = (EVENT,)
CALLER_IS_SCP = True


def start(settings: Settings, keeper: Keeper) -> Running | None:  # noqa: ARG001
    """Nothing listens but the DICOM port."""
    return None


def answer(settings: Settings, keeper: Keeper, request: Request) -> Reply:  # noqa: ARG001
    """Answer N-EVENT-REPORT; what it says is durable before success is answered.

    Raises:
        Refused: 0x0211 another operation; 0x0124 the peer is no ups_manager; 0x0113 an event that does not exist.
        Transient: the database stayed busy.
    """
    if request.operation != "N-EVENT-REPORT":
        raise Refused(status.UNRECOGNISED_OPERATION, f"{request.operation}: steps are not managed by this class")
    if "ups_manager" not in request.peer.roles:
        raise Refused(status.NOT_AUTHORISED, f"{request.peer.name} is no ups_manager")
    if request.type_id not in list(Report):
        raise Refused(status.NO_SUCH_EVENT_TYPE, "the service has no such event")
    if request.type_id == Report.CANCEL_REQUESTED:
        name, uid = request.peer.name, request.sop_instance_uid
        # The listener's own connection does not sync its commits: its rows are rebuilt from the objects.
        with closing(open_database(keeper.db.folder, keeper.db.room)) as db, db.transaction():
            performing.ask_to_cancel(db, keeper.clock.now(), name, uid, f"by {name}")
    return Reply(status=status.SUCCESS)
