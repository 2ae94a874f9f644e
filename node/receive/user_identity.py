"""User identity negotiation (PS3.7 §D.3.3.7): a name, and a passcode of which only a hash is kept.

`python -m node.receive.user_identity FILE` asks for a passcode and writes its hash to FILE, for `user` in [[peers]].
"""

from __future__ import annotations

import base64
import getpass
import hashlib
import hmac
import os
import secrets
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pynetdicom.pdu_primitives import UserIdentityNegotiation

from node.config import Peer, Settings
from node.errors import Misconfigured

#: User-Identity-Type, PS3.7 Table D.3-14; tickets and tokens (3 to 5) are not verified here.
_USERNAME, _USERNAME_AND_PASSCODE = 1, 2
#: scrypt (RFC 7914): 16 MiB and some 50 ms a try.
_COST, _BLOCK, _PARALLEL = 1 << 14, 8, 1
_SALT_BYTES = 16
_LONGEST_PASSCODE = 1024
#: One try at a time: a crowd of callers may not take 16 MiB each.
_one_try = threading.Lock()


def judge_user(peer: Peer, items: Sequence[Any]) -> str:
    """Say why the user identity is not the one that the peer has to show, or "".

    items: the user information of an A-ASSOCIATE request, as pynetdicom's primitives. The reason holds nothing of it.

    Raises:
        Misconfigured: the passcode file cannot be used; nobody may be let in.
    """
    if peer.user is None:
        return ""
    shown = _shown(items)
    if shown is None:
        return f"{peer.name} has to show a user identity, and showed none"
    file = peer.user.passcode_file
    wanted = _USERNAME if file is None else _USERNAME_AND_PASSCODE
    if shown.user_identity_type != wanted:
        return f"{peer.name} showed a user identity of type {shown.user_identity_type}, not {wanted}"
    same_name = hmac.compare_digest(shown.primary_field or b"", peer.user.name.encode())
    # Hashed for a wrong name too: the time tells nothing.
    same_passcode = file is None or _is_passcode(shown.secondary_field or b"", _read(file))
    return "" if same_name and same_passcode else f"not the user identity of {peer.name}"


def response_to(peer: Peer, items: Sequence[Any]) -> list[UserIdentityNegotiation]:
    """Return what the A-ASSOCIATE-AC says about an identity that was verified (PS3.7 §D.3.3.7.2): an item, or none."""
    shown = _shown(items)
    if peer.user is None or shown is None or not shown.positive_response_requested:
        return []
    answer = UserIdentityNegotiation()
    answer.server_response = b""
    return [answer]


def hashed(passcode: bytes) -> str:
    """Return one line for a passcode file: what was used, the salt and the hash."""
    salt = secrets.token_bytes(_SALT_BYTES)
    words = ("scrypt", str(_COST), str(_BLOCK), str(_PARALLEL), _text(salt))
    return "$".join((*words, _text(_digest(passcode, salt, _COST, _BLOCK, _PARALLEL)))) + "\n"


def look_at_passcodes(settings: Settings) -> None:
    """Read every passcode file once, at the start.

    Raises:
        Misconfigured: one of them cannot be used.
    """
    for peer in settings.peers:
        if peer.user is not None and peer.user.passcode_file is not None:
            _read(peer.user.passcode_file)


def _shown(items: Sequence[Any]) -> UserIdentityNegotiation | None:
    return next((item for item in items if isinstance(item, UserIdentityNegotiation)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What a passcode file holds."""

    cost: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes


def _read(file: Path) -> _Kept:
    remedy = f"Write it again: python -m node.receive.user_identity {file}"
    try:
        kind, cost, block, parallel, salt, digest = file.read_text("ascii").strip().split("$")
        if kind == "scrypt":
            return _Kept(
                cost=int(cost),
                block=int(block),
                parallel=int(parallel),
                salt=base64.b64decode(salt, validate=True),
                digest=base64.b64decode(digest, validate=True),
            )
    except OSError as error:
        problem = f"{file} cannot be read: {error.strerror}"
        raise Misconfigured("config.toml", "peers.user.passcode_file", problem, remedy) from None
    except ValueError:
        pass
    raise Misconfigured("config.toml", "peers.user.passcode_file", f"{file} holds no hashed passcode", remedy)


def _is_passcode(passcode: bytes, kept: _Kept) -> bool:
    with _one_try:
        found = _digest(passcode, kept.salt, kept.cost, kept.block, kept.parallel)
    return hmac.compare_digest(found, kept.digest)


def _digest(passcode: bytes, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    # OpenSSL counts 128 bytes a block of each step and lane, and a little more.
    room = 256 * cost * block * parallel
    return hashlib.scrypt(passcode[:_LONGEST_PASSCODE], salt=salt, n=cost, r=block, p=parallel, maxmem=room, dklen=32)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def main(file: Path) -> int:
    """Ask for a passcode and write its hash to `file`, which only its owner may read."""
    passcode = getpass.getpass("Passcode: ").encode()
    if not passcode or len(passcode) > _LONGEST_PASSCODE:
        sys.stderr.write(f"a passcode has 1 to {_LONGEST_PASSCODE} bytes\n")
        return 2
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(hashed(passcode))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("give the file to write")
    sys.exit(main(Path(sys.argv[1])))
