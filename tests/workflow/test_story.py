from __future__ import annotations

import pytest

from node.domain.retrieval import Purpose, RetrievalState
from node.errors import Failed
from node.store import retrievals
from node.store.database import Database
from node.workflow.story import find_study
from tests.fakes import STUDY, FakeClock


def test_of_a_study_of_which_nothing_could_be_fetched_the_reason_is_told(db: Database, clock: FakeClock) -> None:
    with pytest.raises(Failed, match="`matins worklist` lists them"):
        find_study(db, STUDY)
    with db.transaction():
        made = retrievals.record(db, clock.now(), STUDY, "PACS", Purpose.ASKED)
        retrievals.move(db, clock.now(), made.id, RetrievalState.FAILED, "PACS does not hold the study")
    with pytest.raises(Failed, match="the fetch from PACS is failed: PACS does not hold the study"):
        find_study(db, STUDY)
