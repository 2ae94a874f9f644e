"""What trusting a model would trust, against what was trusted last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.catalogue.cards import CARD
from node.catalogue.lock import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Changes, each list in order."""

    #: Files that are new, gone, and other than they were; the card among them.
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    #: What a bundle's configuration newly builds and evaluates, and no longer does.
    runs_added: tuple[str, ...] = ()
    runs_removed: tuple[str, ...] = ()
    #: What is code that a person has to vouch for (`code.needs`).
    needed: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return one line a change, as a diff has them; empty where nothing changed."""
        return [
            *(f"+ {each}" for each in self.added),
            *(f"- {each}" for each in self.removed),
            *(f"~ {each}" for each in self.changed),
            *(f"+ {_said(each)}" for each in self.runs_added),
            *(f"- {_said(each)}" for each in self.runs_removed),
            *(f"! {each}" for each in self.needed),
        ]


def review(before: Entry | None, found: Entry, needed: Sequence[str]) -> Review:
    """Compare a model as `found` with its entry in a lock."""
    old, new = before.files if before else {}, found.files
    added = sorted(new.keys() - old.keys())
    changed = sorted(name for name in new.keys() & old.keys() if new[name] != old[name])
    if before is None:
        added.insert(0, CARD)
    elif before.card_digest != found.card_digest:
        changed.insert(0, CARD)
    runs = set(before.runs) if before else set()
    return Review(
        added=tuple(added),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(changed),
        runs_added=tuple(each for each in found.runs if each not in runs),
        runs_removed=tuple(sorted(runs - set(found.runs))),
        needed=tuple(needed),
    )


def _said(run: str) -> str:
    return f"evaluates {run}" if run.startswith("$") else f"builds {run}"
