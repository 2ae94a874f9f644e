"""The distribution holds `node` and nothing else, and what is installed is what was tested."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
#: Heavier than what they would bring: sqlite-utils and MONAI import them where they find them.
UNWANTED = ("pandas", "scikit-learn", "torchvision")
#: pydicom finds its decoders by itself, networks of MONAI ask for einops; an editable install is made of editables.
DECODERS = {"pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-libjpeg", "pylibjpeg-rle", "pyjpegls"}
NOT_IMPORTED = {*DECODERS, "einops", "editables"}


def constraints() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in pins}


def installed() -> dict[str, metadata.Distribution]:
    return {canonicalize_name(found.metadata["Name"]): found for found in metadata.distributions()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (file,) = folder.iterdir()
    return zipfile.ZipFile(file)


def test_the_wheel_holds_node_only(wheel: zipfile.ZipFile):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"node"}


def test_the_wheel_holds_every_file_of_node(wheel: zipfile.ZipFile):
    tracked = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "node").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert tracked <= set(wheel.namelist())


def test_the_pages_are_in_the_wheel(wheel: zipfile.ZipFile):
    names = wheel.namelist()
    assert any(name.startswith("node/web/templates/") and name.endswith(".html") for name in names)
    assert any(name.startswith("node/web/static/") for name in names)


def test_the_wheel_carries_the_licence_and_one_script(wheel: zipfile.ZipFile):
    (licence,) = [name for name in wheel.namelist() if name.endswith("/licenses/LICENSE")]
    assert b"Apache License" in wheel.read(licence)
    (scripts,) = [name for name in wheel.namelist() if name.endswith("/entry_points.txt")]
    assert wheel.read(scripts).decode().split() == ["[console_scripts]", "matins", "=", "node.cli:main"]


@pytest.mark.parametrize("folder", ["models", "rules", "tests", "benchmarks", "systemd"])
def test_a_folder_of_the_checkout_is_not_importable(folder: str, tmp_path: Path):
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({folder!r}) is not None)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0


def test_node_comes_from_the_checkout(tmp_path: Path):
    result = subprocess.run(
        [sys.executable, "-c", "import node; print(node.__file__)"], cwd=tmp_path, capture_output=True, text=True
    )
    assert Path(result.stdout.strip()) == ROOT / "node" / "__init__.py"


def test_no_other_distribution_owns_node():
    owners = {
        name
        for name, found in installed().items()
        for file in found.files or []
        if file.parts[0] in {"node", "node.py"} or file.parts[0].startswith("node.")
    }
    assert owners <= {"matins"}
    assert metadata.packages_distributions().get("node", ["matins"]) == ["matins"]


def test_every_constraint_is_one_exact_version():
    for pin in constraints().values():
        (clause,) = pin.specifier
        assert clause.operator == "==", pin
        assert Version(clause.version).local is None, f"{pin}: a local label shuts out other builds"


def test_what_is_installed_is_what_is_pinned():
    here = installed()
    differing = {
        name: (str(pin.specifier), here[name].version)
        for name, pin in constraints().items()
        if name in here and here[name].version not in pin.specifier
    }
    assert differing == {}


def test_everything_that_matins_needs_is_pinned():
    here, pinned = installed(), constraints()
    pending, seen = ["matins"], set()
    while pending:
        name = pending.pop()
        for line in here[name].requires or []:
            needed = Requirement(line)
            wanted = canonicalize_name(needed.name)
            extra = "dev" if name == "matins" else ""
            if (needed.marker is None or needed.marker.evaluate({"extra": extra})) and wanted not in seen:
                seen.add(wanted)
                if wanted in here:
                    pending.append(wanted)
    missing = {name for name in seen - set(pinned) - {"pip"} if not name.startswith(("nvidia-", "cuda-", "triton"))}
    assert missing == set()


def test_every_dependency_of_the_core_is_imported_somewhere():
    needed = {
        canonicalize_name(Requirement(line).name) for line in metadata.requires("matins") or [] if ";" not in line
    }
    source = "\n".join(module.read_text() for module in (ROOT / "node").rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE))
    owners = metadata.packages_distributions()
    used = {canonicalize_name(owner) for top in imported for owner in owners.get(top, [])}
    assert needed - used - NOT_IMPORTED == set()


def test_the_core_stays_lean():
    assert [name for name in UNWANTED if name in installed()] == []


def test_torch_is_pinned_where_a_cpu_build_is_at_hand():
    assert str(constraints()["torch"]) == "torch==2.13.0"
