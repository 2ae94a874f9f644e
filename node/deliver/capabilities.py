"""What a destination can do, asked of it: does it answer, does it know us, what does it accept."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from node.config import Peer
from node.deliver.encoding import DEFLATED, EXPLICIT, IMPLICIT
from node.deliver.statuses import context_reason, rejection
from node.domain.output import SOP_CLASS_OF_OUTPUT
from node.store.capabilities import Capability

#: Associations have no more contexts: their numbers are odd and of one byte (PS3.8 §9.3.2.2).
_MOST_CONTEXTS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one peer answered."""

    #: Why it cannot be worked with, and what to do; both empty if it can.
    problem: str = ""
    remedy: str = ""
    #: SOP Class UIDs whose presentation context it accepted, and those it did not.
    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    #: The same, a transfer syntax each.
    learnt: tuple[Capability, ...] = ()
    #: Whether other kinds of output take the place of what it does not accept.
    made_up_for: bool = False

    @property
    def ok(self) -> bool:
        """Whether it answered C-ECHO and accepts what it is to be sent, or what takes its place."""
        return not self.problem or self.made_up_for


def silence(peer: Peer, patience_s: float) -> str:
    """Why nobody can be reached at a peer's host and port; empty where somebody can."""
    try:
        socket.create_connection((peer.host, peer.port), patience_s).close()
    except OSError as error:
        return f"nobody answers at {peer.host}:{peer.port} ({error.strerror or error})"
    return ""


def probe(peer: Peer, our_ae_title: str, *, patience_s: float = 10.0) -> Probe:
    """Open an association with C-ECHO and every storage context the peer is to be sent; waits `patience_s` a step."""
    problem = silence(peer, patience_s)
    if problem:
        return Probe(problem=problem, remedy="Start it, let the firewall through, or correct host and port")
    assert peer.port is not None
    ae = AE(ae_title=our_ae_title)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = patience_s
    wanted, others = _classes(peer.outputs), _classes(peer.fallback)
    contexts = [build_context(str(Verification), IMPLICIT)]
    syntaxes = (EXPLICIT, IMPLICIT, *((DEFLATED,) if peer.compress else ()))
    contexts += [build_context(uid, syntax) for uid in sorted({*wanted, *others}) for syntax in syntaxes]
    # pynetdicom leaves a socket open whose peer has hung up.
    opened: list[socket.socket] = []
    heard: list[Dataset] = []
    notes: list[evt.EventHandlerType] = [
        (evt.EVT_CONN_OPEN, lambda event: opened.append(event.assoc.dul.socket.socket)),
        (evt.EVT_DIMSE_RECV, lambda event: heard.append(event.message.command_set)),
    ]
    association = ae.associate(
        peer.host, peer.port, contexts[:_MOST_CONTEXTS], ae_title=peer.ae_title, evt_handlers=notes
    )
    try:
        if not association.is_established:
            problem, remedy = _why_not(association, peer, our_ae_title)
            return Probe(problem=problem, remedy=remedy)
        is_destination = "destination" in peer.roles
        return _answers(association, wanted if is_destination else [], others if is_destination else [], heard, peer)
    finally:
        if association.is_established:
            association.release()
        for each in opened:
            each.close()


def _answers(association: Association, wanted: list[str], others: list[str], heard: list[Dataset], peer: Peer) -> Probe:
    learnt = tuple(_learnt(association, peer))
    accepted = {each.sop_class_uid for each in learnt if each.accepted and each.transfer_syntax_uid != DEFLATED}
    refused = {each.sop_class_uid for each in learnt} - accepted
    problem = remedy = ""
    if str(Verification) in accepted:
        # pynetdicom's reactor may take an answer that comes at once, and drop it.
        status = next((each.get("Status") for each in (association.send_c_echo(), *heard) if "Status" in each), None)
        if status != 0x0000:
            problem = "no answer to C-ECHO" if status is None else f"C-ECHO answered 0x{status:04X}"
            remedy = "Look into its log"
    missing = [uid for uid in wanted if uid not in accepted]
    made_up_for = False
    if missing and not problem:
        problem = f"it does not accept {', '.join(missing)}"
        remedy = "Turn these SOP Classes on there, or take the output from the peer's outputs"
        made_up_for = not accepted.isdisjoint(others)
    return Probe(
        problem=problem,
        remedy=remedy,
        accepted=tuple(sorted(accepted)),
        refused=tuple(sorted(refused)),
        learnt=tuple(each for each in learnt if each.sop_class_uid != str(Verification)),
        made_up_for=made_up_for,
    )


def _learnt(association: Association, peer: Peer) -> Iterator[Capability]:
    for contexts, accepted in ((association.accepted_contexts, True), (association.rejected_contexts, False)):
        for context in contexts:
            sop_class_uid, syntax = str(context.abstract_syntax), str(context.transfer_syntax[0])
            names = UID(sop_class_uid).name, UID(syntax).name
            reason = "" if accepted else context_reason(context.result, *names, name=peer.name)
            yield Capability(sop_class_uid=sop_class_uid, transfer_syntax_uid=syntax, accepted=accepted, reason=reason)


def _classes(kinds: Iterable[str]) -> list[str]:
    return sorted({SOP_CLASS_OF_OUTPUT[kind] for kind in kinds if kind in SOP_CLASS_OF_OUTPUT})


def _why_not(association: Association, peer: Peer, our_ae_title: str) -> tuple[str, str]:
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        codes = int(answer.result_source or 0), int(answer.diagnostic or 0)
        problem, remedy = rejection(*codes, ours=our_ae_title, theirs=peer.ae_title, name=peer.name)
        return f"it rejects the association: {problem}", remedy or "Try again later"
    return f"{peer.host}:{peer.port} speaks no DICOM, or broke the association off", "Look into its log"
