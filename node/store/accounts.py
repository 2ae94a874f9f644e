"""Accounts: who may log in to the pages."""

from __future__ import annotations

import sqlite3

from node.domain.account import Account, Role
from node.store.database import Database


def add(db: Database, account: Account) -> bool:
    """Keep a new account, in the caller's transaction; `False` if there is one of that login."""
    made = db.execute(
        "INSERT OR IGNORE INTO account (login, role, secret, created_at) VALUES (?, ?, ?, ?)",
        (account.login, account.role, account.secret, account.created_at),
    )
    return bool(made.rowcount)


def remove(db: Database, login: str) -> bool:
    """Remove an account, in the caller's transaction; `False` if there is none."""
    return bool(db.execute("DELETE FROM account WHERE login = ?", (login,)).rowcount)


def account(db: Database, login: str) -> Account | None:
    """The account of that login."""
    row = db.row("SELECT * FROM account WHERE login = ?", (login,))
    return _account(row) if row else None


def accounts(db: Database) -> list[Account]:
    """Every account, by login."""
    return [_account(row) for row in db.rows("SELECT * FROM account ORDER BY login")]


def any_account(db: Database) -> bool:
    """Whether anybody has one."""
    return db.row("SELECT 1 FROM account LIMIT 1") is not None


def _account(row: sqlite3.Row) -> Account:
    return Account(login=row["login"], role=Role(row["role"]), secret=row["secret"], created_at=row["created_at"])
