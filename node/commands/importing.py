"""`import`: what lies on a disk is taken in by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from node.commands.output import print_json, progress, say
from node.commands.site import opened
from node.config import Peer, Settings
from node.errors import Failed, Misconfigured, Transient
from node.store.spool import Spool

if TYPE_CHECKING:
    from node.receive.intakes.folder import ImportCounts, ImportedFile

#: Refused files that are named; the rest is counted.
_NAMED = 20


def import_files(
    settings: Settings,
    paths: Sequence[Path],
    *,
    source: str = "",
    dry_run: bool = False,
    verbose: bool = False,
    as_json: bool = False,
) -> None:
    """Take in every file of `paths`, folders and archives with all that is in them, and say what became of them.

    Raises:
        Failed: nothing was taken in, or a file that was named itself is refused.
        Misconfigured: no peer is called `source`.
        Transient: the disk has no reserve left, or the database stayed busy; what was taken in until then stays.
    """
    from node.receive.candidates import count
    from node.receive.intakes.folder import import_paths

    peer = _peer(settings, source) if source else None
    so_far: Counter[str] = Counter()
    # With --json, nothing but the document goes to standard output.
    showing = nullcontext(_say_nothing) if as_json else progress("files", lambda: count(paths))
    with opened(settings) as db, showing as advance:

        def note(file: ImportedFile) -> None:
            so_far[file.verdict.value] += 1
            advance()

        try:
            counts = import_paths(db, Spool(db.folder), settings, paths, note, source=peer, dry_run=dry_run)
        except Transient as error:
            raise Transient(f"{error}; {so_far['kept']} were taken in until then, and stay") from error
    if as_json:
        print_json(_document(counts, dry_run=dry_run))
    else:
        _name("refused", counts.refused, len(counts.refused) if verbose else _NAMED)
        _name("skipped", counts.skipped, len(counts.skipped) if verbose else 0)
    told = _told(counts, dry_run=dry_run)
    if not counts.kept + counts.held or {each.path for each in counts.refused if not each.entry} & set(paths):
        raise Failed(told)
    if not as_json:
        say(told)


def _say_nothing() -> None:
    pass


def _peer(settings: Settings, name: str) -> Peer:
    peer = settings.peer_named(name)
    if peer is None:
        names = ", ".join(each.name for each in settings.peers) or "none are configured"
        raise Misconfigured("--source", "", f"no peer is called {name}", f"Name one of [[peers]]: {names}")
    return peer


def _name(what: str, files: Sequence[ImportedFile], most: int) -> None:
    for each in files[:most]:
        say(f"{what} {_where(each)}: {each.reason}")
    if most and len(files) > most:
        say(f"{what} {len(files) - most} more; --verbose names them")


def _where(file: ImportedFile) -> str:
    return f"{file.path}, in it {file.entry}" if file.entry else str(file.path)


def _told(counts: ImportCounts, *, dry_run: bool) -> str:
    parts = [
        f"{counts.kept} {'would be kept' if dry_run else 'kept'}",
        f"{counts.held} held already",
        f"{len(counts.refused)} refused",
    ]
    if counts.skipped:
        parts.append(f"{len(counts.skipped)} skipped that are no DICOM objects")
    return f"{', '.join(parts)}; {len(counts.studies)} {'study' if len(counts.studies) == 1 else 'studies'}"


def _document(counts: ImportCounts, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "kept": counts.kept,
        "held": counts.held,
        "refused": [{"path": str(each.path), "entry": each.entry, "reason": each.reason} for each in counts.refused],
        "skipped": [{"path": str(each.path), "entry": each.entry, "reason": each.reason} for each in counts.skipped],
        "study_instance_uids": list(counts.studies),
    }
