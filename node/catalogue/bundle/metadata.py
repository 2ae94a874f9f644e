"""What `metadata.json` tells of a bundle, as far as it can be relied on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.catalogue.bundle.reading import read
from node.catalogue.bundle.sections import configuration_file
from node.domain.model_card import Task

_FILE = "configs/metadata.json"
#: What its free text calls a modality → Modality (0008,0060).
_MODALITIES = {
    "ct": "CT",
    "mr": "MR",
    "mri": "MR",
    "mammogram": "MG",
    "mg": "MG",
    "cr": "CR",
    "dx": "DX",
    "us": "US",
    "ultrasound": "US",
    "pt": "PT",
    "pet": "PT",
}
_CLASSES = frozenset({"classes", "labels", "classification"})
_LICENCES = (("Apache License", "Apache-2.0"), ("MIT License", "MIT"), ("BSD 3-Clause", "BSD-3-Clause"))
_LONGEST = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What is told of a model; an empty text or tuple where it is not."""

    title: str = ""
    version: str = ""
    description: str = ""
    intended_use: str = ""
    citation: str = ""
    licence: str = ""
    authors: str = ""
    #: Modality (0008,0060).
    modality: str = ""
    task: Task = Task.SEGMENTATION
    #: Names of the network's input channels where there are several series, in order.
    inputs: tuple[str, ...] = ()
    #: What the channels or values of the output mean, the background left out, in order.
    outputs: tuple[str, ...] = ()
    #: Number of the first of them.
    first_output: int = 1
    #: Whether the network sees images, not volumes.
    flat: bool = False
    colour: bool = False


def described(bundle: Path) -> Described:
    """Read a bundle's metadata and what little of its configuration and licence helps.

    Raises:
        Misconfigured: a file cannot be read.
    """
    file = bundle / _FILE
    told = read(file) if file.is_file() else {}
    data = _mapping(told.get("network_data_format"))
    given, made = _first(data.get("inputs")), _first(data.get("outputs"))
    configuration = configuration_file(bundle)
    sections = read(configuration) if configuration else {}
    names, first = _outputs(made)
    references = told.get("references")
    cited = "; ".join(map(str, references)) if isinstance(references, list) else _text(references)
    flat = len(given.get("spatial_shape") or (0, 0, 0)) == 2
    colour = _text(given.get("format")).upper() == "RGB"
    return Described(
        title=_text(told.get("name")),
        version=_text(told.get("version")),
        description=_text(told.get("description")) or _text(told.get("task")),
        intended_use=_text(told.get("intended_use")),
        citation=_text(cited),
        licence=_licence(bundle),
        authors=_text(told.get("authors")),
        modality=_MODALITIES.get(_text(given.get("modality")).lower(), ""),
        task=_task(made, sections, flat=flat),
        inputs=() if flat else _channels(given),
        outputs=names,
        first_output=first,
        flat=flat,
        colour=colour,
    )


def _task(made: Mapping[str, Any], sections: Mapping[str, Any], *, flat: bool) -> Task:
    if "detector" in sections:
        return Task.DETECTION
    shape = made.get("spatial_shape")
    one_number_each = isinstance(shape, list) and len(shape) == 2 and shape[:1] == [1]
    kind = _text(made.get("format")).lower()
    return Task.CLASSIFICATION if flat and kind in _CLASSES and one_number_each else Task.SEGMENTATION


def _outputs(made: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    names = _named(made)
    if names and "background" in names[0].lower():
        return names[1:], 1
    return names, 0


def _channels(given: Mapping[str, Any]) -> tuple[str, ...]:
    names = _named(given)
    return names if len(names) > 1 else ()


def _named(described: Mapping[str, Any]) -> tuple[str, ...]:
    channels = _mapping(described.get("channel_def"))
    numbered = sorted((int(key), _text(value)) for key, value in channels.items() if str(key).isdigit())
    return tuple(value or f"output {key}" for key, value in numbered)


def _licence(bundle: Path) -> str:
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md"):
        file = bundle / name
        if file.is_file():
            with file.open("rb") as stream:
                head = " ".join(stream.read(4096).decode("utf-8", "replace").split())
            return next((short for words, short in _LICENCES if words in head), f"see bundle/{name}")
    return ""


def _first(sides: Any) -> Mapping[str, Any]:
    return next((each for each in _mapping(sides).values() if isinstance(each, Mapping)), {})


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    """One line without controls; empty for what says nothing."""
    text = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", str(value)).split()) if isinstance(value, str | float) else ""
    return "" if text.lower() in {"none", "null"} else text[:_LONGEST]
