"""Whether the archives answer queries: each is asked for a study that nobody can hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from node.commands.check import Check
from node.config import Settings
from node.domain.uid import derived_uid
from node.errors import Failed, Transient
from node.loop import Stop
from node.retrieve import calls
from node.retrieve.asking import CHILD, ask
from node.retrieve.keys import StudyKeys
from node.retrieve.question import Way

_WORDS = {
    Way.WEB: "its studies come by WADO-RS",
    Way.MOVE: "its studies come by C-MOVE",
    Way.GET: "its studies come by C-GET: it has not the role source, so it may not send them",
}


def archives(settings: Settings, file: Path) -> Iterator[Check]:
    """Yield what was found, an archive at a time."""
    keys = StudyKeys(study_instance_uid=derived_uid("a study that nobody holds"))
    for index, peer in enumerate(settings.peers):
        if "archive" not in peer.roles:
            continue
        where = peer.dicomweb or f"{peer.ae_title} at {peer.host}:{peer.port}"
        subject = f"{peer.name} ({where})"
        query = calls.study_query(settings, peer, keys).model_copy(update={"answer_s": settings.deliver.connect_s})
        try:
            ask(CHILD, query, Stop(), lambda: None)
        except (Failed, Transient) as error:
            key = f"peers[{index}]" + (".dicomweb" if peer.dicomweb else "")
            remedy = "Start it, correct its address, or allow this node to query there"
            yield Check(
                about="archive", subject=subject, ok=False, file=str(file), key=key, problem=str(error), remedy=remedy
            )
            continue
        yield Check(about="archive", subject=subject, ok=True, found=f"answers queries; {_WORDS[calls.way_of(peer)]}")
