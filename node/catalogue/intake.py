"""Bringing a model's files into `models/`: copied within bounds, laid out, and put in place in one step."""

from __future__ import annotations

import lzma
import secrets
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from node.catalogue.bundle.sections import FOLDER, configuration_file
from node.errors import Failed, Misconfigured

#: A model's folder holds less; the zoo's largest bundle has 5 GB of weights, and some hundred files.
MOST_FILES = 5000
MOST_BYTES = 32 << 30
#: What an archive may unpack to, as a multiple of its own size; weights hardly compress.
MOST_EXPANSION = 100
#: Files that are a model by themselves.
SINGLE = frozenset({".ts", ".pt", ".pth", ".pt2", ".onnx", ".safetensors"})
_LEFT_OUT = frozenset({".git", "__pycache__", "__MACOSX", ".DS_Store"})
_CHUNK = 1 << 20
_WEIGHTS = (".pt", ".pth", ".ts", ".safetensors")
_ENCRYPTED = 0x1


@contextmanager
def arriving(models_folder: Path) -> Iterator[Path]:
    """Give a new folder beside the models, which they do not see; it is removed unless it was moved away."""
    folder = models_folder / f".arriving-{secrets.token_hex(6)}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bring(source: Path, into: Path) -> Path:
    """Copy a bundle's folder, a .zip of one, or a single file into the folder `into`, and return the weights file.

    Raises:
        Misconfigured: it is none of these, has links or paths that lead out, or lacks its weights.
        Failed: it is more than a model can be.
    """
    if source.is_dir():
        _copy_folder(source, into / FOLDER)
    elif zipfile.is_zipfile(source) and source.suffix.lower() == ".zip":
        with zipfile.ZipFile(source) as archive:
            _unpack(archive, source, into / FOLDER)
    elif source.is_file() and source.suffix.lower() in SINGLE:
        target = into / source.name
        with source.open("rb") as stream:
            _write(stream, target, _Room(MOST_BYTES))
        return target
    else:
        kinds = ", ".join(sorted(SINGLE))
        remedy = f"Name a bundle's folder, a .zip of one, or a file ending in {kinds}"
        raise Misconfigured(source, "", "is no model" if source.exists() else "there is no such file", remedy)
    bundle = into / FOLDER
    if configuration_file(bundle) is None:
        remedy = "Name the folder that holds configs/inference.json or .yaml"
        raise Misconfigured(source, "", "is no MONAI bundle: it has no configs/inference", remedy)
    return _weights(bundle, source)


def _weights(bundle: Path, source: Path) -> Path:
    """The weights that inference reads: models/model.pt, or the only file of its kind."""
    folder = bundle / "models"
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in _WEIGHTS) if folder.is_dir() else []
    for name in ("model.pt", "model.safetensors", "model.ts"):
        if folder / name in found:
            return folder / name
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found)
        raise Misconfigured(
            source, "models", f"holds several weights files ({names})", "Leave one, or name it model.pt"
        )
    more = "; large_files.yml says from where" if (bundle / "large_files.yml").is_file() else ""
    raise Misconfigured(source, "models", "holds no weights", f"Fetch models/model.pt into the bundle{more}")


class _Room:
    """Bytes and files that may still be written."""

    def __init__(self, size: int) -> None:
        self._bytes = size
        self._files = MOST_FILES

    def take_file(self) -> None:
        self._files -= 1
        if self._files < 0:
            raise Failed(f"it holds more than {MOST_FILES} files: no model has that many")

    def take(self, size: int) -> None:
        self._bytes -= size
        if self._bytes < 0:
            raise Failed("it holds more bytes than a model of its size can: nothing was kept")


def _copy_folder(source: Path, target: Path) -> None:
    room = _Room(MOST_BYTES)
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if _LEFT_OUT & set(relative.parts):
            continue
        if path.is_symlink():
            _bring_link(path, source, target / relative, room)
        elif path.is_dir():
            continue
        elif path.is_file():
            _bring_file(path, target / relative, room)
        else:
            raise Misconfigured(path, "", "is no plain file", "Remove it")


def _bring_link(path: Path, source: Path, target: Path, room: _Room) -> None:
    """Copy what a link stands for; one that leads out of the bundle may stand for anything."""
    if not path.resolve().is_relative_to(source.resolve()) or not path.is_file():
        raise Misconfigured(path, "", "is a link out of the bundle, or to a folder", "Replace it by what it stands for")
    _bring_file(path, target, room)


def _bring_file(path: Path, target: Path, room: _Room) -> None:
    with path.open("rb") as stream:
        _write(stream, target, room)


def _unpack(archive: zipfile.ZipFile, source: Path, target: Path) -> None:
    room = _Room(min(MOST_BYTES, MOST_EXPANSION * source.stat().st_size))
    members = [each for each in archive.infolist() if not each.is_dir()]
    members = [each for each in members if not _LEFT_OUT & set(PurePosixPath(each.filename).parts)]
    paths = [_path(each, source) for each in members]
    depth = _depth_of_bundle(paths)
    for member, path in zip(members, paths, strict=True):
        if len(path.parts) <= depth:
            continue
        if member.flag_bits & _ENCRYPTED:
            raise Misconfigured(source, member.filename, "is encrypted", "Unpack it, and name the folder")
        try:
            with archive.open(member) as stream:
                _write(stream, target.joinpath(*path.parts[depth:]), room)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise Misconfigured(source, member.filename, f"cannot be unpacked: {error}", "Fetch it again") from None


def _path(member: zipfile.ZipInfo, source: Path) -> PurePosixPath:
    path = PurePosixPath(member.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename or not path.parts:
        raise Misconfigured(source, member.filename[:100], "leads out of the archive", "Do not use this archive")
    mode = member.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        raise Misconfigured(source, member.filename[:100], "is a link or no file", "Do not use this archive")
    return path


def _depth_of_bundle(paths: list[PurePosixPath]) -> int:
    """How many folders stand above `configs/`: archives of the zoo have the bundle's own folder outermost."""
    roots = {path.parts[0] for path in paths if len(path.parts) > 1}
    alone = len(roots) == 1 and all(len(path.parts) > 1 for path in paths)
    return 1 if alone and "configs" not in roots else 0


def _write(stream: IO[bytes], target: Path, room: _Room) -> None:
    room.take_file()
    target.parent.mkdir(parents=True, exist_ok=True)
    # "x": two members of one name, or two that differ only for the archive, are a mistake or a trick.
    try:
        with target.open("xb") as copy:
            while chunk := stream.read(_CHUNK):
                room.take(len(chunk))
                copy.write(chunk)
    except FileExistsError:
        raise Misconfigured(target.name, "", "is there twice", "Do not use this archive") from None
