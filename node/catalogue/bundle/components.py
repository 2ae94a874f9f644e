"""What a configuration may build: the names of MONAI's, PyTorch's and our own parts, known without importing any."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_LIST = Path(__file__).with_name("components.txt")
#: Packages that offer the names of the modules below them as their own.
_OFFERING = (
    "monai.transforms",
    "monai.inferers",
    "monai.networks.nets",
    "monai.networks.blocks",
    "monai.networks.layers",
    "monai.networks.schedulers",
    "monai.apps.detection.transforms",
)


def resolved(target: str) -> str | None:
    """Return the whole dotted name of a `_target_`, or `None` where it names nothing that may be built.

    A bare name, such as `ScaleIntensityd`, has to be that of one part of MONAI alone.
    """
    if "." not in target:
        modules = tuple(module for module in _modules().get(target, ()) if module.startswith("monai."))
        return f"{modules[0]}.{target}" if len(modules) == 1 else None
    package, _, name = target.rpartition(".")
    modules = _modules().get(name, ())
    if package in modules:
        return target
    offered = [module for module in modules if package in _OFFERING and module.startswith(f"{package}.")]
    return f"{offered[0]}.{name}" if len(offered) == 1 else None


def names() -> frozenset[str]:
    """Return the whole dotted names of everything that may be built."""
    return frozenset(f"{module}.{name}" for name, modules in _modules().items() for module in modules)


@cache
def _modules() -> dict[str, tuple[str, ...]]:
    """Name → the modules that have one."""
    found: dict[str, tuple[str, ...]] = {}
    module = ""
    for line in _LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if not line.startswith(" "):
            module = line.strip()
            continue
        for name in line.split():
            found[name] = (*found.get(name, ()), module)
    return found
