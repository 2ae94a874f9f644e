"""The key under which this node replaces identities: made once, read by its owner alone, never exported."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from node.errors import Misconfigured
from node.store.files import sync_folder

#: Below the data folder.
FILE = Path("learning", "pseudonyms.key")
_LENGTH = 32


def pseudonym_key(data: Path) -> bytes:
    """Return the key of this node, 32 bytes; made where there is none yet. Whoever loses it makes new pseudonyms.

    Raises:
        Misconfigured: the file holds no key.
    """
    file = data / FILE
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        # Another process may be first: its key counts.
        temporary = file.with_name(f".{file.name}.{secrets.token_hex(6)}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(_LENGTH))
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(temporary, file)
        temporary.unlink()
        sync_folder(file.parent)
    key = file.read_bytes()
    if len(key) != _LENGTH:
        problem = f"holds {len(key)} bytes, and a key has {_LENGTH}"
        raise Misconfigured(file, "", problem, "Bring it back from a copy; without it pseudonyms begin anew")
    return key
