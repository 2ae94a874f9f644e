from __future__ import annotations

import pytest

from tests.web.reader import CHEAP


@pytest.fixture(autouse=True)
def nobodys_password_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is derived for who has no account takes no time here."""
    monkeypatch.setattr("node.workflow.accounts._NOBODYS", CHEAP.rpartition("$")[0] + "$AAAA")
