"""Which models stay loaded: the most recently used, as long as their memory lasts."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from node.catalogue import Model
from node.config import InferSettings
from node.infer.model_child import COMMAND, ModelChild, key_of

#: What a model takes before it has told: interpreter and PyTorch, and its weights with room to work.
_BASE_BYTES = 1 << 30
_BYTES_PER_WEIGHT_BYTE = 8
#: Of the GPU's memory, where no budget is set: the rest is for contexts and the fragments between allocations.
_DEVICE_SHARE = 0.9

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of the machine and of the GPU."""

    main: int
    device: int = 0

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.main + other.main, self.device + other.device)

    def __sub__(self, other: Memory) -> Memory:
        return Memory(self.main - other.main, self.device - other.device)

    def within(self, budget: Memory) -> bool:
        """Whether neither is more than the budget's."""
        return self.main <= budget.main and self.device <= budget.device


@dataclass(frozen=True, slots=True)
class Resident:
    """One loaded model."""

    model_digest: str
    memory: Memory
    #: When it last had work; any clock that only goes forward.
    last_used_s: float
    #: Whether a study is under way in it.
    at_work: bool = False


def to_unload(residents: Sequence[Resident], needed: Memory, budget: Memory) -> list[str]:
    """Return the digests of the models to unload, so that what is `needed` fits the budget.

    The longest unused goes first, and one that is at work last of all. A model that is larger than the whole budget
    gets it for itself alone.
    """
    held = sum((resident.memory for resident in residents), Memory(0))
    leaving = []
    for resident in sorted(residents, key=lambda resident: (resident.at_work, resident.last_used_s)):
        if (held + needed).within(budget):
            break
        held -= resident.memory
        leaving.append(resident.model_digest)
    return leaving


class Residence:
    """The model processes of this room, one a model digest. For the main thread alone."""

    def __init__(
        self, settings: InferSettings, command: Sequence[str] = COMMAND, *, evidence: Path | None = None
    ) -> None:
        self._settings = settings
        self._evidence = evidence
        self._command = command
        self._children: dict[str, ModelChild] = {}
        self._last_used_s: dict[str, float] = {}
        #: What is to be loaded before work comes, and what was: the most wanted first, until a study asks for it.
        self._wanted: deque[Model] = deque()
        self._early: list[str] = []
        #: What could not be loaded when it was last tried.
        self._broken: set[str] = set()

    def child(self, model: Model, *, frugal: bool = False) -> ModelChild:
        """Return the process of `model`, started if need be (it may still be loading); others make room.

        One that is not as `frugal` as is asked gives way to one that is, unless it is at work.

        Raises:
            OSError: the system has no room for a process now.
        """
        digest = key_of(model)
        self._last_used_s[digest] = time.monotonic()
        if digest in self._early:
            self._early.remove(digest)
        present = self._children.get(digest)
        # One that owes answers stays, even dead: its end is heard, and laid to the study that it is due to.
        if present is not None and not present.owes and not (present.alive and present.frugal == frugal):
            self.dismiss(present)
            present = None
        for child in self.making_room(model):
            log.info("model_unloaded", model=child.model.card.name)
            self._children.pop(key_of(child.model)).end()
        return present or self._start(model, frugal=frugal)

    def making_room(self, model: Model) -> list[ModelChild]:
        """The processes that have to end before that of `model` fits the budget, those at work last."""
        digest = key_of(model)
        present = self._children.get(digest)
        needed = _memory_of(present) if present else _expected(model)
        leaving = to_unload(self._others(digest), needed, self._budget())
        return [self._children[each] for each in leaving]

    @property
    def most_together(self) -> int:
        """So many small studies go through a network in one pass at most."""
        return self._settings.together

    @property
    def children(self) -> list[ModelChild]:
        """Every process, loading ones too."""
        return list(self._children.values())

    def want(self, models: Iterable[Model]) -> None:
        """Have models loaded before work comes, the most wanted first; `load` begins with it."""
        self._wanted.extend(models)

    @property
    def loads(self) -> bool:
        """Whether any of what is wanted is not loaded yet, and may still be."""
        return bool(self._wanted) or any(not child.ready for child in self._idle_early())

    def load(self) -> None:
        """Begin to load what is wanted and fits beside all others, one a core at a time.

        What takes more than was expected of it is known once it is loaded: then what was wanted last makes room.
        """
        self._shed()
        while self._wanted and len(self._loading()) < len(os.sched_getaffinity(0)):
            model = self._wanted[0]
            if self.making_room(model):
                if self._loading():
                    break  # it may turn out to need less than is kept for it
            elif key_of(model) not in self._children:
                self._early.append(key_of(model))
                with suppress(OSError):  # no memory for a process now: it loads when it is needed
                    self._start(model, frugal=False)
            self._wanted.popleft()

    def broken(self, child: ModelChild) -> None:
        """Note that a model cannot be loaded."""
        self._broken.add(key_of(child.model))

    def told(self, model: Model) -> str:
        """One line for people: where a model is, now that what is wanted is loaded."""
        child = self._children.get(key_of(model))
        if child is not None and child.ready:
            return f"{model.card.name} on {child.device}"
        broken = key_of(model) in self._broken
        return f"{model.card.name} does not load" if broken else f"{model.card.name} loads when it is needed"

    def dismiss(self, child: ModelChild) -> None:
        """End a process now, whatever it does."""
        if self._children.get(key_of(child.model)) is child:
            del self._children[key_of(child.model)]
        child.kill()

    def end(self) -> None:
        """End all of them."""
        for child in self._children.values():
            child.end()
        self._children.clear()

    def _start(self, model: Model, *, frugal: bool) -> ModelChild:
        self._last_used_s[key_of(model)] = time.monotonic()
        self._broken.discard(key_of(model))
        child = ModelChild(model, self._settings, self._command, evidence=self._evidence, frugal=frugal)
        self._children[key_of(model)] = child
        return child

    def _loading(self) -> list[ModelChild]:
        return [child for child in self._children.values() if not child.ready and child.alive]

    def _idle_early(self) -> list[ModelChild]:
        """What was loaded before any study asked for it, the most wanted first."""
        return [self._children[digest] for digest in self._early if digest in self._children]

    def _shed(self) -> None:
        """End what nobody has asked for yet, where all together take more than they may."""
        for child in reversed(self._idle_early()):
            held = sum((each.memory for each in self._others("")), Memory(0))
            if held.within(self._budget()):
                return
            if len(self._children) > 1:
                log.info("model_unloaded", model=child.model.card.name)
                self._early.remove(key_of(child.model))
                self.dismiss(child)

    def _budget(self) -> Memory:
        """What all may take together; of a GPU that no process has told of yet, without bounds."""
        whole = max((child.device_total_bytes for child in self._children.values()), default=0)
        share = self._settings.device_bytes or int(whole * _DEVICE_SHARE)
        return Memory(self._settings.resident_bytes, share or sys.maxsize)

    def _others(self, digest: str) -> list[Resident]:
        return [
            Resident(other, _memory_of(child), self._last_used_s[other], bool(child.owes))
            for other, child in self._children.items()
            if other != digest and child.alive
        ]


def _memory_of(child: ModelChild) -> Memory:
    expected = _expected(child.model)
    if not child.ready:
        return expected
    return Memory(child.resident_bytes or expected.main, child.device_bytes)


def _expected(model: Model) -> Memory:
    room = _BYTES_PER_WEIGHT_BYTE * sum(map(_size, model.weights.values()))
    return Memory(_BASE_BYTES + room, _BASE_BYTES + room)


def _size(path: Path) -> int:
    """Bytes of a file; 0 of one that is gone, which its own process tells of: no other model is to wait for it."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
