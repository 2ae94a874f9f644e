"""The folder of engines' evidence: one JSON file a model and device, replaced when it is measured again."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from node.domain.engine import EngineEvidence
from node.store.files import write_durably

#: Name of the folder in the data folder.
FOLDER = "engines"
_EVIDENCE: TypeAdapter[EngineEvidence] = TypeAdapter(EngineEvidence)


def read(folder: Path, model_digest: str, device: str) -> EngineEvidence | None:
    """Return what was measured of a model on "cpu" or "cuda"; `None` where nothing was, or the file is not sound."""
    try:
        found = _EVIDENCE.validate_json(_file(folder, model_digest, device).read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.is_sound else None


def write(folder: Path, evidence: EngineEvidence) -> Path:
    """Keep what was measured, whole or not at all; return the file."""
    file = _file(folder, evidence.model_digest, evidence.device)
    write_durably(file, _EVIDENCE.dump_json(evidence, indent=1))
    return file


def _file(folder: Path, model_digest: str, device: str) -> Path:
    return folder / f"{model_digest}-{device}.json"
