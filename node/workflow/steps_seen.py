"""Which Unified Procedure Steps a peer may know of: those to read a study are for readers, others for performers."""

from __future__ import annotations

from node.config import Peer
from node.domain.ups import PERFORMER, READER, REQUESTER
from node.store.ups import UpsRow


def may_see(peer: Peer, row: UpsRow) -> bool:
    """Whether a peer may know of a step.

    Whoever completes a step to read a study takes the study off the list: only who was said to read does so. Nobody
    sees a step of another hospital than their own.
    """
    wanted = {READER} if row.number else {PERFORMER, REQUESTER}
    if not wanted & set(peer.roles):
        return False
    return not (peer.issuer and row.issuer) or peer.issuer == row.issuer or row.source == peer.name
