"""An established association: who is at the other end, what was agreed, and what became of its objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pynetdicom.presentation import PresentationContext

from node.config import Peer
from node.receive.association import Door
from node.receive.intakes import DimseService, QueryService, dimse_services
from node.receive.keeper import Origin
from node.receive.layouts import Layouts
from node.receive.negotiation import AcceptedContext
from node.receive.syntaxes import VERIFICATION, supported_contexts


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What is offered to every caller; only read."""

    #: By abstract syntax.
    contexts: Mapping[str, PresentationContext]
    services: Mapping[str, DimseService | QueryService]


def offered(*, deflated: bool = False) -> Offer:
    """C-ECHO, storage, of `deflated` objects too, and what the intakes answer."""
    services = dimse_services()
    contexts = supported_contexts(services, deflated=deflated)
    for uid, service in services.items():
        if getattr(service, "CALLER_IS_SCP", False):
            contexts[uid].scu_role, contexts[uid].scp_role = False, True
    return Offer(contexts=contexts, services=services)


class Session:
    """One established association, in the hands of one thread."""

    def __init__(
        self,
        door: Door,
        peer: Peer,
        offer: Offer,
        accepted: Mapping[int, AcceptedContext],
        respond: Callable[..., None],
    ) -> None:
        """`respond` sends an encoded command set on a context, and a data set with it where one is given."""
        self.door = door
        self.peer = peer
        self.offer = offer
        self.accepted = accepted
        self.respond = respond
        #: What became of its objects: kept, held, refused.
        self.counts: Counter[str] = Counter()
        #: Of the objects that came last.
        self.layouts = Layouts()
        self._origins = {retrieved: self._origin(retrieved) for retrieved in (False, True)}

    def is_storage(self, context: AcceptedContext) -> bool:
        """Whether objects are stored on the context."""
        return context.abstract_syntax != VERIFICATION and context.abstract_syntax not in self.offer.services

    def origin(self, *, retrieved: bool) -> Origin:
        """Where its objects come from; `retrieved` where we asked for them."""
        return self._origins[retrieved]

    def _origin(self, retrieved: bool) -> Origin:
        return Origin(
            source=self.peer.name,
            sending_ae_title=self.peer.ae_title,
            receiving_ae_title=self.door.settings.node.ae_title,
            retrieved=retrieved,
        )
