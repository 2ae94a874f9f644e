"""Whether the peers answer, know us, and take what they are to be sent; what a destination takes is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from node.commands.check import Check
from node.commands.site import opened
from node.config import Peer, Settings
from node.domain.output import REFERS_TO, SOP_CLASS_OF_OUTPUT
from node.domain.time import SystemClock
from node.errors import MatinsError
from node.store import capabilities


def destinations(settings: Settings, file: Path) -> Iterator[Check]:
    """Yield what was found, a peer at a time: destinations, and archives that have a port."""
    for index, peer in enumerate(settings.peers):
        is_destination = "destination" in peer.roles
        if is_destination and peer.send_by == "folder":
            yield _folder(peer, file, index)
        elif is_destination and peer.send_by == "stow":
            yield _service(settings, peer, file, index)
        elif (is_destination or "archive" in peer.roles) and peer.port is not None:
            yield _peer(settings, file, index, peer)


def _peer(settings: Settings, file: Path, index: int, peer: Peer) -> Check:
    from node.deliver.capabilities import probe

    answer = probe(peer, settings.node.ae_title, patience_s=settings.deliver.connect_s)
    subject = f"{peer.name} ({peer.ae_title} at {peer.host}:{peer.port})"
    found = f"answers C-ECHO; accepts {len(answer.accepted)} of {len(answer.accepted) + len(answer.refused)} proposed"
    found += _kept(settings, peer, answer.learnt) + _dangling(peer)
    return Check(
        about="peer",
        subject=subject,
        ok=answer.ok,
        found=found if answer.ok else "",
        file=str(file) if answer.problem else "",
        key=f"peers[{index}]" if answer.problem else "",
        problem=answer.problem + ("; other outputs take its place" if answer.made_up_for else ""),
        remedy=answer.remedy,
    )


def _kept(settings: Settings, peer: Peer, learnt: tuple[capabilities.Capability, ...]) -> str:
    """Keep what the probe has shown, and say what the destination is known not to take."""
    if "destination" not in peer.roles:
        return ""
    # Without a sound database, of which another check tells, the peer's answer is still worth telling.
    with suppress(MatinsError), opened(settings) as db:
        now = SystemClock().now()
        capabilities.record(db, now, peer.name, learnt)
        kinds = [kind for kind in dict.fromkeys((*peer.outputs, *peer.fallback)) if kind in SOP_CLASS_OF_OUTPUT]
        refused = [kind for kind in kinds if capabilities.known_refusal(db, now, peer.name, SOP_CLASS_OF_OUTPUT[kind])]
        return f"; does not take {', '.join(refused)}" if refused else ""
    return ""


def _dangling(peer: Peer) -> str:
    """What it is to be sent that refers to what it is not: the reference leads nowhere there."""
    lacking = {each: REFERS_TO[each] for each in peer.outputs if REFERS_TO.get(each, each) not in peer.outputs}
    if "destination" not in peer.roles or not lacking:
        return ""
    missing = ", ".join(sorted(set(lacking.values())))
    return f"; {', '.join(lacking)} will refer to {missing}, which its `outputs` lack: add it"


def _service(settings: Settings, peer: Peer, file: Path, index: int) -> Check:
    from node.deliver.stow import problem_of

    problem = problem_of(peer, settings)
    return Check(
        about="peer",
        subject=f"{peer.name} ({peer.dicomweb})",
        ok=not problem,
        found="" if problem else f"answers{_kept(settings, peer, ())}{_dangling(peer)}",
        file=str(file) if problem else "",
        key=f"peers[{index}].dicomweb" if problem else "",
        problem=problem,
        remedy="Start it, correct its address, or allow this node to store there" if problem else "",
    )


def _folder(peer: Peer, file: Path, index: int) -> Check:
    assert peer.folder is not None
    there = peer.folder.is_dir()
    problem = "" if there else "the folder is not there"
    if there and not os.access(peer.folder, os.W_OK | os.X_OK):
        problem = "the folder cannot be written"
    return Check(
        about="peer",
        subject=f"{peer.name} ({peer.folder})",
        ok=not problem,
        found="" if problem else f"can be written{_dangling(peer)}",
        file=str(file) if problem else "",
        key=f"peers[{index}].folder" if problem else "",
        problem=problem,
        remedy="Create it (is a disk not mounted?), let this user write there, or name another" if problem else "",
    )
