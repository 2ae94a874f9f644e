"""Accounts: made, removed, and known again by their passwords, of which only what scrypt makes of them is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode

from node.domain.account import Account, Role, is_login
from node.domain.time import Instant
from node.errors import Failed
from node.store import accounts, events
from node.store.database import Database

#: scrypt (RFC 7914): 32 MiB and about a quarter of a second for each password.
COST, BLOCK_SIZE, PARALLEL = 2**15, 8, 3
_MEMORY_BYTES = 256 << 20
SHORTEST, LONGEST = 12, 1024


def add(db: Database, now: Instant, login: str, role: Role, password: str) -> None:
    """Make an account. Opens its own transaction.

    Raises:
        Failed: the login or the password is none that can be taken, or there is such an account.
    """
    if not is_login(login):
        raise Failed("a login has 1 to 64 small letters, digits, dots, dashes, underscores or @, as maria.k")
    _check(login, password)
    made = Account(login=login, role=role, secret=derived(password), created_at=now.iso)
    with db.transaction():
        if not accounts.add(db, made):
            raise Failed(f"there is an account {login}; `matins accounts remove {login}` first")
        events.record(db, now, "account", login, after="added", reason=role)


def remove(db: Database, now: Instant, login: str) -> None:
    """Remove an account; whoever is logged in with it is out with the next request. Opens its own transaction.

    Raises:
        Failed: there is none of that login.
    """
    with db.transaction():
        if not accounts.remove(db, login):
            raise Failed(f"there is no account {login!r}")
        events.record(db, now, "account", login, after="removed")


def known(db: Database, login: str, password: str) -> Account | None:
    """The account, if that is its password; takes as long where there is no such account."""
    account = accounts.account(db, login) if is_login(login) else None
    fits = is_password(account.secret if account is not None else _NOBODYS, password[:LONGEST])
    return account if fits else None


def named(db: Database, login: str, *, given: str) -> str:
    """The login of somebody of the reading list who says something by a command; `given`: the option that names it.

    Where there are accounts it has to be one of a reader; where there are none, any name is taken that may be a login.

    Raises:
        Failed: it is nobody's.
    """
    if not is_login(login):
        raise Failed(f"{given} {login!r} is no login: small letters, digits, dots, dashes, underscores and @")
    account = accounts.account(db, login)
    if accounts.any_account(db) and (account is None or account.role is not Role.READER):
        raise Failed(f"{login} is no reader here; `matins accounts list` names who is")
    return login


def derived(password: str, *, cost: int = 0) -> str:
    """What is kept of a password: "scrypt$cost$block size$parallel$salt$key"."""
    salt = secrets.token_bytes(16)
    cost = cost or COST
    key = _key(password, salt, cost, BLOCK_SIZE, PARALLEL)
    return "$".join(("scrypt", str(cost), str(BLOCK_SIZE), str(PARALLEL), _text(salt), _text(key)))


def is_password(secret: str, password: str) -> bool:
    """Whether what is kept was made of this password."""
    _, cost, block_size, parallel, salt, key = secret.split("$")
    made = _key(password, b64decode(salt), int(cost), int(block_size), int(parallel))
    return hmac.compare_digest(made, b64decode(key))


def _key(password: str, salt: bytes, cost: int, block_size: int, parallel: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=cost,
        r=block_size,
        p=parallel,
        maxmem=_MEMORY_BYTES,
        dklen=32,
    )


def _check(login: str, password: str) -> None:
    if not SHORTEST <= len(password) <= LONGEST:
        raise Failed(f"a password has {SHORTEST} to {LONGEST} characters")
    if login in password.lower() or len(set(password)) < 5:
        raise Failed("the password is too easily guessed: it names the login, or repeats a few characters")


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()


#: Of nobody: a password is derived for it, and never fits.
_NOBODYS = "$".join(("scrypt", str(COST), str(BLOCK_SIZE), str(PARALLEL), _text(bytes(16)), _text(bytes(32))))
