"""Reports on storage commitment (PS3.4 Annex J.3.3), from the destinations that we asked for it.

We are the SCU: what is taken is N-EVENT-REPORT alone, from who takes the role of SCP. Matins commits itself to nothing.
"""

from __future__ import annotations

from contextlib import closing

from node.config import Settings
from node.domain.commitment import ALL_COMMITTED, PUSH_MODEL, PUSH_MODEL_INSTANCE, SOME_FAILED
from node.errors import Refused
from node.receive import commitment_report, status
from node.receive.intakes import Reply, Request, Running
from node.receive.keeper import Keeper
from node.store.database import open_database
from node.workflow import commitment

NAME = "commitment"
#: Storage Commitment Push Model SOP Class.
SOP_CLASSES = (PUSH_MODEL,)
CALLER_IS_SCP = True


def start(settings: Settings, keeper: Keeper) -> Running | None:  # noqa: ARG001
    """Nothing listens but the DICOM port."""
    return None


def answer(settings: Settings, keeper: Keeper, request: Request) -> Reply:  # noqa: ARG001
    """Answer N-EVENT-REPORT; what it says is durable before success is answered.

    Raises:
        Refused: 0x0211 another operation; 0x0124 the peer is no destination; 0x0112 not the well-known SOP Instance;
            0x0113 another event; 0x0110 a transaction that this peer was not asked, or a data set that cannot be read;
            0x0106, 0x0120 no sound Transaction UID; 0x0213 more than is taken.
        Transient: the database stayed busy.
    """
    if request.operation != "N-EVENT-REPORT":
        raise Refused(status.UNRECOGNISED_OPERATION, f"{request.operation}: this node commits itself to nothing")
    if "destination" not in request.peer.roles:
        raise Refused(status.NOT_AUTHORISED, f"{request.peer.name} is no destination")
    if request.sop_instance_uid != PUSH_MODEL_INSTANCE:
        raise Refused(status.NO_SUCH_SOP_INSTANCE, "not the instance of the Storage Commitment Push Model")
    if request.type_id not in (ALL_COMMITTED, SOME_FAILED):
        raise Refused(status.NO_SUCH_EVENT_TYPE, "the storage commitment service has no such event")
    report = commitment_report.read(request.content, request.transfer_syntax_uid)
    # The listener's own connection does not sync its commits: its rows are rebuilt from the objects, these cannot be.
    with closing(open_database(keeper.db.folder, keeper.db.room)) as db, db.transaction():
        if not commitment.apply(db, keeper.clock.now(), request.peer.name, report):
            raise Refused(status.PROCESSING_FAILURE, f"{request.peer.name} was not asked this transaction")
    return Reply(status=status.SUCCESS)
