"""Whether destinations offer what their settings ask for after and before the sending: commitment, and queries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from node.commands.check import Check
from node.config import Peer, Settings
from node.errors import Transient
from node.workflow.commitment import confirms


def confirmations(settings: Settings, file: Path) -> Iterator[Check]:
    """Yield what was found, a destination at a time; one that does not answer is told of elsewhere."""
    for index, peer in enumerate(settings.peers):
        if "destination" in peer.roles and (confirms(peer) or peer.reconcile):
            found = _offered(settings, peer)
            if found is not None:
                yield _judged(peer, file, index, commitment=found[0], query=found[1])


def _offered(settings: Settings, peer: Peer) -> tuple[bool, bool] | None:
    """Whether it accepts contexts for storage commitment and for queries; `None` where it does not answer."""
    from node.deliver.capabilities import silence
    from node.deliver.dialogue import dialogue
    from node.deliver.query import FIND
    from node.domain.commitment import PUSH_MODEL

    # pynetdicom leaves the socket of a refused connection to the garbage collector.
    if silence(peer, settings.deliver.connect_s):
        return None
    try:
        with dialogue(peer, settings.node.ae_title, settings.deliver, [PUSH_MODEL, FIND]) as asked:
            return asked.accepts(PUSH_MODEL), asked.accepts(FIND)
    except Transient:
        return None


def _judged(peer: Peer, file: Path, index: int, *, commitment: bool, query: bool) -> Check:
    names = {"storage commitment": commitment, "queries": query}
    offered = [name for name, is_offered in names.items() if is_offered]
    problem, key = _problem(peer, commitment=commitment, query=query)
    found = f"offers {' and '.join(offered) or 'neither storage commitment nor queries'}"
    if commitment and not peer.addresses and confirms(peer):
        found += "; it has no addresses, so it can report on our own association alone"
    return Check(
        about="confirmation",
        subject=peer.name,
        ok=not problem,
        found="" if problem else found,
        file=str(file) if problem else "",
        key=f"peers[{index}].{key}" if problem else "",
        problem=problem,
        remedy="Switch it on there for our AE title, or change the setting" if problem else "",
    )


def _problem(peer: Peer, *, commitment: bool, query: bool) -> tuple[str, str]:
    """What is asked for and not offered, and the key that asks for it."""
    if peer.reconcile and not query:
        return "it answers no queries, so nothing can be reconciled and nothing is sent", "reconcile"
    if peer.confirm == "ask" and not commitment:
        return "it offers no storage commitment", "confirm"
    if peer.confirm == "query" and not query:
        return "it answers no queries", "confirm"
    return "", ""
