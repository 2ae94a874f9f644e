"""What of a bundle's `configs/inference` is resolved, and nothing else.

A published configuration also lists files, writes results and starts an engine: those sections go, as do the steps that
load and save, wherever they stand. What is left is looked at by the gate before MONAI's parser sees any of it, because
resolving a section runs what it names.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.catalogue.bundle import complaints, reading
from node.catalogue.bundle.sections import configuration_file
from node.domain.model_card import Task
from node.errors import Misconfigured
from node.imaging.bundle.migrations import migrated

#: Folder of the bundle beside the card.
BUNDLE = "bundle"
#: Sections that are never resolved: they read lists of files, write, or run.
DROPPED = frozenset(
    {"dataset", "dataloader", "datalist", "evaluator", "handlers", "checkpointloader", "initialize", "run", "validate"}
)
#: Key under which what the stripped `LoadImage*` steps said is kept.
LOADED = "loaded_"
#: What a loading step says that changes what the next step gets.
_LOADER_KEYS = ("keys", "dtype", "ensure_channel_first", "image_only", "_disabled_")
_REFERENCE = re.compile(r"@(\w+)")
_MACRO = re.compile(r"%(\w+)(?:(?:::|#)\w+)*")
#: A device is ours to choose, whatever a step asks for.
_DEVICE = re.compile(r"\$\s*torch\.device\(.*\)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One bundle's inference: gated, reduced and brought up to date."""

    #: The `bundle` folder.
    folder: Path
    #: Sections by name, as MONAI's parser takes them.
    content: dict[str, Any]
    #: `metadata.json`; empty where there is none.
    metadata: Mapping[str, Any] = field(default_factory=dict)
    #: Sections that have to be resolved before anything runs (`_requires_` of the evaluator).
    required: tuple[str, ...] = ()
    #: How post-processing treats the numbers of a classification: "softmax", "sigmoid", or empty where it does not say.
    head: str = ""
    #: What was changed, a sentence each.
    notes: tuple[str, ...] = ()

    def channels(self, side: str) -> list[str]:
        """Names of the channels of the first of the `inputs` or `outputs`, as `metadata.json` has them; else empty."""
        # A few say `label_def` where the values of a mask are meant.
        described = self.described(side).get("channel_def") or self.described(side).get("label_def")
        if not isinstance(described, Mapping):
            return []
        return [str(described[key]) for key in sorted(described, key=_number)]

    def described(self, side: str) -> Mapping[str, Any]:
        """The first of the `inputs` or `outputs` of `network_data_format`."""
        sides = self.metadata.get("network_data_format", {}).get(side, {})
        return next(iter(sides.values()), {}) if isinstance(sides, Mapping) else {}


def read(folder: Path, *, task: Task, device: str, own_code: bool, name: str = "inference") -> Configuration:
    """Read `configs/<name>.{json,yaml,yml}` and `metadata.json` of the model in `folder`, gate and reduce them.

    Raises:
        Misconfigured: a file is missing or unreadable, a section is missing, or the gate has complaints.
    """
    configs = folder / BUNDLE / "configs"
    file = configuration_file(folder / BUNDLE, name)
    if file is None:
        raise Misconfigured(configs, name, "no such configuration", "A bundle has configs/inference.json or .yaml")
    metadata = configs / "metadata.json"
    original = reading.read(file)
    required = _required(original)
    content = _overridden(original, folder / BUNDLE, device)
    loaders: list[dict[str, Any]] = []
    content = {key: _stripped(value, loaders) for key, value in content.items()}
    content[LOADED] = loaders
    kept = _kept(content, task, required, file)
    content = _with_imports(_reachable(content, kept, file), content.get("imports", []))
    problems = complaints(content, own_code)
    if problems:
        remedy = "Look at what it does; what a bundle may run is said by `matins models trust`"
        raise Misconfigured(file, "", "; ".join(problems), remedy)
    content, notes = migrated(content)
    return Configuration(
        folder=folder / BUNDLE,
        content=content,
        metadata=reading.read(metadata) if metadata.is_file() else {},
        required=required,
        head=_head(original.get("postprocessing")),
        notes=notes,
    )


def _overridden(content: dict[str, Any], folder: Path, device: str) -> dict[str, Any]:
    """The sections that may be resolved, in our folder and on our device."""
    kept = {key: copy.deepcopy(value) for key, value in content.items() if key not in DROPPED and key != "_meta_"}
    kept = {key: _on_our_device(value) for key, value in kept.items()}
    return {**kept, "bundle_root": str(folder), "device": f"$torch.device('{device}')"}


def _on_our_device(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _on_our_device(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_on_our_device(each) for each in value]
    return "@device" if isinstance(value, str) and _DEVICE.fullmatch(value) else value


def _required(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Sections that the evaluator wants resolved before it is made: settings of a detector stand there."""
    evaluator = content.get("evaluator")
    wanted = evaluator.get("_requires_", []) if isinstance(evaluator, dict) else []
    texts = wanted if isinstance(wanted, list) else [wanted]
    names = [name for text in texts if isinstance(text, str) for name in _REFERENCE.findall(text)]
    return tuple(name for name in names if name in content and name not in DROPPED)


def _head(value: Any) -> str:
    """What the steps of a post-processing, not resolved, say about the last layer."""
    if isinstance(value, dict):
        if value.get("softmax") or value.get("argmax"):
            return "softmax"
        if value.get("sigmoid"):
            return "sigmoid"
        value = list(value.values())
    if isinstance(value, list):
        return next((said for each in value if (said := _head(each))), "")
    return ""


def _kept(content: Mapping[str, Any], task: Task, required: tuple[str, ...], file: Path) -> list[str]:
    """Names of the sections that are resolved for a task."""
    network = "network" if "network" in content else "network_def"
    if network not in content:
        raise Misconfigured(file, "network_def", "is missing", "A bundle names its network")
    wanted = [network, "preprocessing", LOADED, *required]
    if task is Task.DETECTION and "detector" in content:
        # The detector itself holds the sliding window; a bundle's inferer only calls it.
        return [*wanted, "detector"]
    wanted += ["inferer"] if task is not Task.SEGMENTATION else ["inferer", "postprocessing"]
    return [name for name in wanted if name in content]


def _stripped(value: Any, loaders: list[dict[str, Any]]) -> Any:
    """The value without the steps that load or save, in whatever list they stand; what loading said is collected."""
    if isinstance(value, dict):
        return {key: _stripped(each, loaders) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    left = []
    for each in value:
        step = _target(each)
        if step.startswith("LoadImage"):
            said = {key: each[key] for key in _LOADER_KEYS if key in each}
            # Not a component any more: whether it is disabled is for us to see.
            loaders.append({key.strip("_"): part for key, part in said.items()} | {"step": step})
        elif not step.startswith("Save"):
            left.append(_stripped(each, loaders))
    return left


def _target(value: Any) -> str:
    """Last word of what a component names; empty where the value is none."""
    target = value.get("_target_", "") if isinstance(value, dict) else ""
    return target.rpartition(".")[2] if isinstance(target, str) else ""


def _reachable(content: Mapping[str, Any], kept: list[str], file: Path) -> dict[str, Any]:
    """The kept sections and all that they refer to."""
    pending, found = list(kept), dict[str, Any]()
    while pending:
        name = pending.pop()
        if name in found or name not in content:
            continue
        found[name] = content[name]
        for text in strings(content[name]):
            if text.startswith("%") and not _MACRO.fullmatch(text):
                raise Misconfigured(file, name, f"takes in another file ({text[:80]})", "Such a bundle does not run")
            pending += _REFERENCE.findall(text) + _MACRO.findall(text)
            # `@##name`: of an outer level, which may be the outermost.
            pending += re.findall(r"@(?:#|::)+(\w+)", text)
    return {**found, "bundle_root": content["bundle_root"], "device": content["device"]}


def _with_imports(content: dict[str, Any], imports: Any) -> dict[str, Any]:
    """Only what an expression uses is imported: MONAI would run every import it sees."""
    used = {name for text in strings(content) if text.startswith("$") for name in _names(text)}
    lines = [line for line in imports if isinstance(line, str)] if isinstance(imports, list) else []
    needed = [line for line in lines if _bound(line) & used]
    return {"imports": needed, **content} if needed else content


def _names(expression: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", expression))


def _bound(line: str) -> set[str]:
    """Names that an import statement binds; everything that it holds where it cannot be read."""
    try:
        statements = ast.parse(line.lstrip("$").strip()).body
    except SyntaxError:
        return _names(line)
    names = [alias for each in statements if isinstance(each, ast.Import | ast.ImportFrom) for alias in each.names]
    return {(alias.asname or alias.name).partition(".")[0] for alias in names}


def strings(value: Any) -> Iterator[str]:
    """Every text in a section, its keys not counted."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def _number(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isdigit() else (1 << 30, key)
