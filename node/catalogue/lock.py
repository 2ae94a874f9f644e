"""`models.lock`: the digest of every file of every trusted model; what does not match does not run."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from node.catalogue import code
from node.catalogue.cards import CARD, NAME, read_card
from node.catalogue.toml_file import read_document, validate
from node.catalogue.weights import digest_of_file, digest_of_model, files_of, locate_all
from node.domain.model_card import ModelCard
from node.errors import Misconfigured, Unsuitable

_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a lock says of one model; all digests are SHA-256 in hexadecimal."""

    __pydantic_config__ = _FORBID

    model_digest: str
    card_digest: str
    files: dict[str, str]
    #: What a bundle's configuration builds and evaluates, as it was when it was trusted (`code.runs`).
    runs: tuple[str, ...] = ()
    #: Whether somebody looked at the code that the model brings, and allowed it.
    own_code: bool = False

    def has_digests_of(self, other: Entry) -> bool:
        """Whether both speak of the same card and files."""
        return (self.model_digest, self.card_digest, self.files) == (
            other.model_digest,
            other.card_digest,
            other.files,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the locks say of a model as it lies on disk."""

    #: Why it may not run, with the remedy; empty if it may.
    problem: str = ""
    own_code: bool = False


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


def standing(card: ModelCard, folder: Path, found: Entry, locks: Sequence[Path]) -> Standing:
    """Say whether the model as `found` in `folder` may run: one of `locks` has it so, and allows the code it brings.

    Raises:
        Misconfigured: a lock or a configuration of the bundle cannot be read.
    """
    changed, name = "", card.name
    for lock in locks:
        locked = read_lock(lock).get(name)
        if locked is not None and locked.has_digests_of(found):
            needed = () if locked.own_code else code.needs(card, folder)
            return Standing(problem=code.refusal(name, needed), own_code=locked.own_code)
        if locked is not None:
            changed = f"{_difference(locked, found)} not what {lock} has locked"
    remedy = f"Look at it, then run `matins models trust {name}`"
    return Standing(problem=f"{changed or f'{name} is in no models.lock'}. {remedy}")


def trust(models_folder: Path, name: str, lock: Path, *, own_code: bool = False, expected: Entry | None = None) -> str:
    """Lock the model as it lies on disk now and return its digest; other entries of `lock` stay.

    Args:
        models_folder: where the model's folder lies.
        name: of the model.
        lock: the file that is written.
        own_code: allow the code that the model brings.
        expected: what somebody has looked at; nothing else is locked.

    Raises:
        Misconfigured: the card is wrong, weights are missing, it brings code and `own_code` is not given, or it is not
            what was expected.
    """
    card, found = examine(models_folder, name)
    if expected is not None and not found.has_digests_of(expected):
        raise Misconfigured(models_folder / name, "", "changed while it was looked at", "Look at it again")
    needed = () if own_code else code.needs(card, models_folder / name)
    if needed:
        problem, _, remedy = code.refusal(name, needed).partition(". ")
        raise Misconfigured(models_folder / name, "", problem, remedy)
    write_entry(lock, name, replace(found, own_code=own_code))
    return found.model_digest


def examine(models_folder: Path, name: str) -> tuple[ModelCard, Entry]:
    """Return the card of a model as it lies on disk, and the entry that trusting it would write.

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
        entry = entry_of(card_file, files_of(card, folder, weights))
    except Unsuitable as error:
        raise Misconfigured(card_file, "weights", str(error), "Then trust it") from None
    except OSError as error:
        raise Misconfigured(folder, "", f"cannot be read: {error}", "Check its files and their rights") from None
    return card, replace(entry, runs=code.runs(card, folder))


def write_entry(lock: Path, name: str, entry: Entry) -> None:
    """Write one model's entry; the others stay.

    Raises:
        Misconfigured: what is there is no lock.
    """
    _write_atomically(lock, _render({**read_lock(lock), name: entry}))


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
            f"card_digest = {json.dumps(entry.card_digest)}\n{_optional(entry)}\n[{name}.files]\n{digests}"
        )
    return "\n".join(blocks)


def _optional(entry: Entry) -> str:
    """What only some models have, so that the lock of the others stays as it is."""
    runs = "".join(f"    {json.dumps(each)},\n" for each in entry.runs)
    return (f"runs = [\n{runs}]\n" if runs else "") + ("own_code = true\n" if entry.own_code else "")


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
