"""Which models stay loaded: the most recently used, as long as their memory lasts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from node.catalogue import Model
from node.config import InferSettings
from node.errors import Failed
from node.infer.model_child import COMMAND, ModelChild, ModelDied

#: What a model takes before it has told: interpreter and PyTorch, and its weights with room to work.
_BASE_BYTES = 1 << 30
_BYTES_PER_WEIGHT_BYTE = 8

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Resident:
    """One loaded model."""

    model_digest: str
    resident_bytes: int
    #: When it last had work; any clock that only goes forward.
    last_used_s: float


def to_unload(residents: Sequence[Resident], needed_bytes: int, budget_bytes: int) -> list[str]:
    """Return the digests of the models to unload, longest unused first, so that `needed_bytes` fit the budget.

    A model that is larger than the whole budget gets it for itself alone.
    """
    held = sum(resident.resident_bytes for resident in residents)
    leaving = []
    for resident in sorted(residents, key=lambda resident: resident.last_used_s):
        if held + needed_bytes <= budget_bytes:
            break
        held -= resident.resident_bytes
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

    def child(self, model: Model) -> ModelChild:
        """Return the process of `model`, started if need be (it may still be loading); others make room."""
        digest = _key(model)
        self._last_used_s[digest] = time.monotonic()
        present = self._children.get(digest)
        if present is not None and not present.alive:
            self.dismiss(model)
            present = None
        self._make_room(digest, _bytes_of(present) if present else _expected_bytes(model))
        if present is None:
            present = self._children[digest] = ModelChild(model, self._settings, self._command, evidence=self._evidence)
        return present

    def preload(self, models: Iterable[Model], beat: Callable[[], None]) -> list[str]:
        """Load what fits the budget before work comes; return one line a model on how that went."""
        told = []
        for model in models:
            if to_unload(self._others(""), _expected_bytes(model), self._settings.resident_bytes):
                told.append(f"{model.card.name} loads when it is needed")
                continue
            try:
                child = self.child(model)
                child.wait_until_ready(beat)
                told.append(f"{model.card.name} on {child.device}")
            except (Failed, ModelDied) as error:
                log.error("model_not_loaded", model=model.card.name, reason=str(error))
                self.dismiss(model)
                told.append(f"{model.card.name} does not load")
        return told

    def dismiss(self, model: Model) -> None:
        """End the process of `model`, if there is one."""
        child = self._children.pop(_key(model), None)
        if child is not None:
            child.kill()

    def end(self) -> None:
        """End all of them."""
        for child in self._children.values():
            child.end()
        self._children.clear()

    def _make_room(self, digest: str, needed_bytes: int) -> None:
        for leaving in to_unload(self._others(digest), needed_bytes, self._settings.resident_bytes):
            log.info("model_unloaded", model=self._children[leaving].model.card.name)
            self._children.pop(leaving).end()

    def _others(self, digest: str) -> list[Resident]:
        return [
            Resident(other, _bytes_of(child), self._last_used_s[other])
            for other, child in self._children.items()
            if other != digest and child.alive
        ]


def _key(model: Model) -> str:
    # The card's parameters are part of what a process has loaded.
    return f"{model.model_digest}:{model.card_digest}"


def _bytes_of(child: ModelChild) -> int:
    return child.resident_bytes or _expected_bytes(child.model)


def _expected_bytes(model: Model) -> int:
    return _BASE_BYTES + _BYTES_PER_WEIGHT_BYTE * sum(path.stat().st_size for path in model.weights.values())
