"""`models.lock`: the digest of every file of every trusted model; what does not match does not run."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from node.catalogue.cards import CARD, NAME, read_card
from node.catalogue.toml_file import read_document, validate
from node.catalogue.weights import digest_of_file, digest_of_model, files_of, locate_all
from node.errors import Misconfigured, Unsuitable

_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a lock says of one model; all digests are SHA-256 in hexadecimal."""

    __pydantic_config__ = _FORBID

    model_digest: str
    card_digest: str
    files: dict[str, str]


_LOCK: TypeAdapter[dict[str, Entry]] = TypeAdapter(dict[str, Entry])
_HEAD = """\
# Written by `matins models trust NAME`, not by hand. A model runs only while each of its files has the
# SHA-256 that stands here: whoever changes a card or a weights file looks at it again and trusts it again.
"""


def read_lock(lock: Path) -> dict[str, Entry]:
    """Return the entries of `lock` by model; none if there is no such file.

    Raises:
        Misconfigured: it is there but is no lock.
    """
    return validate(_LOCK, read_document(lock), lock) if lock.exists() else {}


def why_not_trusted(name: str, entry: Entry, locks: Sequence[Path]) -> str:
    """Say why the model as found (`entry`) may not run, with the remedy; empty if one of `locks` has it so.

    Raises:
        Misconfigured: a lock cannot be read.
    """
    changed = ""
    for lock in locks:
        locked = read_lock(lock).get(name)
        if locked == entry:
            return ""
        if locked is not None:
            changed = f"{_difference(locked, entry)} not what {lock} has locked"
    remedy = f"Look at it, then run `matins models trust {name}`"
    return f"{changed or f'{name} is in no models.lock'}. {remedy}"


def trust(models_folder: Path, name: str, lock: Path) -> str:
    """Lock the model as it lies on disk now and return its digest; other entries of `lock` stay.

    Raises:
        Misconfigured: the card is wrong, or weights are missing.
    """
    if not NAME.fullmatch(name):
        raise Misconfigured(models_folder, name, "is no name of a model", "Give the name of a folder in it")
    folder = models_folder / name
    card_file = folder / CARD
    card = read_card(folder)
    try:
        weights = locate_all(card, folder, card_file)
    except Unsuitable as error:
        raise Misconfigured(card_file, "weights", str(error), "Then trust it") from None
    entry = entry_of(card_file, files_of(card, folder, weights))
    _write_atomically(lock, _render({**read_lock(lock), name: entry}))
    return entry.model_digest


def entry_of(card_file: Path, files: Mapping[str, Path]) -> Entry:
    """Digest the card and the `files` of one model as they lie on disk."""
    digests = {key: digest_of_file(path) for key, path in files.items()}
    return Entry(model_digest=digest_of_model(digests), card_digest=digest_of_file(card_file), files=digests)


def _difference(locked: Entry, found: Entry) -> str:
    names = sorted(
        name for name in locked.files.keys() | found.files.keys() if locked.files.get(name) != found.files.get(name)
    )
    if locked.card_digest != found.card_digest:
        names.insert(0, CARD)
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{shown or 'the digest'} {'are' if len(names) > 1 else 'is'}"


def _render(entries: Mapping[str, Entry]) -> str:
    # A JSON string is a TOML basic string.
    blocks = [_HEAD]
    for name, entry in sorted(entries.items()):
        digests = "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in sorted(entry.files.items()))
        blocks.append(
            f"[{name}]\nmodel_digest = {json.dumps(entry.model_digest)}\n"
            f"card_digest = {json.dumps(entry.card_digest)}\n\n[{name}.files]\n{digests}"
        )
    return "\n".join(blocks)


def _write_atomically(path: Path, text: str) -> None:
    # store.files does the same, but stands above this floor.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
