"""Which part of a bundle's configuration runs when a study is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from node.catalogue.bundle.gate import complaints
from node.catalogue.bundle.reading import read
from node.errors import Misconfigured

#: The bundle's folder beside the card.
FOLDER = "bundle"
#: Name of the configuration that reads a study, without its ending.
INFERENCE = "inference"
_ENDINGS = ("json", "yaml", "yml")
_SECTIONS = ("network_def", "network", "preprocessing")
#: A detector holds its own windows and steps: a bundle's inferer only calls it.
_WITH_DETECTOR = (*_SECTIONS, "detector")
_WITHOUT = (*_SECTIONS, "inferer", "postprocessing")
#: Read and write files in the bundle's way: taken out of every list, ours are used.
_STORING = re.compile(r"(LoadImage|SaveImage|SaveClassification)(D|d|Dict)?")
_NAME = re.compile(r"\w[\w.-]*")
_MENTIONED = re.compile(r"[@%](?:#|::)*(\w+)")


def configuration_file(bundle: Path, name: str = INFERENCE) -> Path | None:
    """Return `configs/<name>.json`, or `.yaml`, of a bundle's folder; `None` where there is neither.

    Raises:
        Misconfigured: `name` is no plain name: what lies elsewhere was not looked at, and is in no lock.
    """
    if not _NAME.fullmatch(name):
        problem = f"{name[:100]!a} is no name of a configuration in bundle/configs"
        raise Misconfigured("model.toml", "parameters.configuration", problem, "Name one without its ending")
    files = [bundle / "configs" / f"{name}.{ending}" for ending in _ENDINGS]
    return next((file for file in files if file.is_file()), None)


def running(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections that are resolved for a study, with all that they mention, and the imports they use."""
    evaluator = configuration.get("evaluator")
    required = evaluator.get("_requires_") if isinstance(evaluator, Mapping) else None
    pending = [*(_WITH_DETECTOR if "detector" in configuration else _WITHOUT), *_mentioned(required)]
    found: dict[str, Any] = {}
    while pending:
        name = pending.pop()
        if name in configuration and name not in found and not name.startswith("_"):
            found[name] = _without_storing(configuration[name])
            pending += _mentioned(found[name])
    imports = configuration.get("imports")
    lines = [line for line in imports if isinstance(line, str)] if isinstance(imports, list) else []
    words = {word for text in _strings(found) if text.startswith("$") for word in re.findall(r"\w+", text)}
    used = [line for line in lines if set(re.findall(r"\w+", line)) & words]
    return {**found, "imports": used} if used else found


def runs(bundle: Path, name: str = INFERENCE) -> tuple[str, ...]:
    """Return what reading a study builds and evaluates: each `_target_` and each `$` expression once, in order.

    Raises:
        Misconfigured: the configuration cannot be read.
    """
    file = configuration_file(bundle, name)
    return tuple(sorted(set(_running_words(running(read(file)))))) if file else ()


def needs(bundle: Path, name: str = INFERENCE, *, own_code: bool = False) -> list[str]:
    """Return what of it the gate does not let through (see `gate.complaints`), with the file.

    Raises:
        Misconfigured: the configuration cannot be read.
    """
    file = configuration_file(bundle, name)
    if file is None:
        return []
    return [f"{file.relative_to(bundle.parent)}: {each}" for each in complaints(running(read(file)), own_code)]


def _without_storing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_storing(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_storing(each) for each in value if not _stores(each)]
    return value


def _stores(value: Any) -> bool:
    target = value.get("_target_") if isinstance(value, dict) else None
    return isinstance(target, str) and _STORING.fullmatch(target.rpartition(".")[2]) is not None


def _mentioned(value: Any) -> list[str]:
    return [name for text in _strings(value) for name in _MENTIONED.findall(text)]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


def _running_words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("_target_"), str):
            yield value["_target_"]
        for each in value.values():
            yield from _running_words(each)
    elif isinstance(value, list):
        for each in value:
            yield from _running_words(each)
    elif isinstance(value, str) and value.startswith("$"):
        yield value
