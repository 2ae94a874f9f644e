"""History as the table keeps it."""

from __future__ import annotations

import pytest

from node.domain.history import Fact
from node.store import history, identities
from node.store.database import Database
from tests.fakes import PATIENT, FakeClock


def test_whether_facts_are_the_patients_is_asked_once_for_all_that_were_told_of_the_same_person(
    db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = [Fact(code="problem", value=f"number {number}", source="table") for number in range(50)]
    with db.transaction():
        history.replace_told(db, clock.now(), PATIENT, facts, origin="table")
    asked: list[object] = []
    whole = identities.why_not
    monkeypatch.setattr(identities, "why_not", lambda *given: asked.append(given) or whole(*given))
    assert history.facts(db, PATIENT, study="") == facts
    assert len(asked) == 1
