"""What a destination can do, asked of it: does it answer, does it know us, what does it accept."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import SecondaryCaptureImageStorage, Verification  # type: ignore[attr-defined]

from node.config import Peer
from node.deliver.statuses import rejection
from node.domain.output import SOP_CLASS_OF_OUTPUT

#: Proposed besides, to know what else its viewers could be sent.
_OTHERS = (str(SecondaryCaptureImageStorage),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one peer answered."""

    #: Why it cannot be worked with, and what to do; both empty if it can.
    problem: str = ""
    remedy: str = ""
    #: SOP Class UIDs whose presentation context it accepted, and those it did not.
    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it answered C-ECHO and accepts what it is to be sent."""
        return not self.problem


def probe(peer: Peer, our_ae_title: str, *, patience_s: float = 10.0) -> Probe:
    """Open an association with C-ECHO and every storage context the peer is to be sent; waits `patience_s` a step."""
    assert peer.port is not None
    try:
        socket.create_connection((peer.host, peer.port), patience_s).close()
    except OSError as error:
        return Probe(
            problem=f"nobody answers at {peer.host}:{peer.port} ({error.strerror or error})",
            remedy="Start it, let the firewall through, or correct host and port",
        )
    ae = AE(ae_title=our_ae_title)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = patience_s
    wanted = sorted({SOP_CLASS_OF_OUTPUT[name] for name in peer.outputs if name in SOP_CLASS_OF_OUTPUT})
    for sop_class_uid in (str(Verification), *wanted, *_OTHERS):
        ae.add_requested_context(sop_class_uid)
    # pynetdicom leaves a socket open whose peer has hung up.
    opened: list[socket.socket] = []
    heard: list[Dataset] = []
    notes: list[evt.EventHandlerType] = [
        (evt.EVT_CONN_OPEN, lambda event: opened.append(event.assoc.dul.socket.socket)),
        (evt.EVT_DIMSE_RECV, lambda event: heard.append(event.message.command_set)),
    ]
    association = ae.associate(peer.host, peer.port, ae_title=peer.ae_title, evt_handlers=notes)
    try:
        if not association.is_established:
            problem, remedy = _why_not(association, peer, our_ae_title)
            return Probe(problem=problem, remedy=remedy)
        return _answers(association, wanted if "destination" in peer.roles else [], heard)
    finally:
        if association.is_established:
            association.release()
        for each in opened:
            each.close()


def _answers(association: Association, wanted: list[str], heard: list[Dataset]) -> Probe:
    accepted = tuple(sorted(str(context.abstract_syntax) for context in association.accepted_contexts))
    refused = tuple(sorted(str(context.abstract_syntax) for context in association.rejected_contexts))
    problem = remedy = ""
    if str(Verification) in accepted:
        # pynetdicom's reactor may take an answer that comes at once, and drop it.
        status = next((each.get("Status") for each in (association.send_c_echo(), *heard) if "Status" in each), None)
        if status != 0x0000:
            problem = "no answer to C-ECHO" if status is None else f"C-ECHO answered 0x{status:04X}"
            remedy = "Look into its log"
    missing = [uid for uid in wanted if uid not in accepted]
    if missing and not problem:
        problem = f"it does not accept {', '.join(missing)}"
        remedy = "Turn these SOP Classes on there, or take the output from the peer's outputs"
    return Probe(problem=problem, remedy=remedy, accepted=accepted, refused=refused)


def _why_not(association: Association, peer: Peer, our_ae_title: str) -> tuple[str, str]:
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        codes = int(answer.result_source or 0), int(answer.diagnostic or 0)
        problem, remedy = rejection(*codes, ours=our_ae_title, theirs=peer.ae_title, name=peer.name)
        return f"it rejects the association: {problem}", remedy or "Try again later"
    return f"{peer.host}:{peer.port} speaks no DICOM, or broke the association off", "Look into its log"
