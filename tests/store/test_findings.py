"""Findings come back as they were kept, those of an older node too."""

from __future__ import annotations

import json

from node.domain.finding import Code, Finding
from node.domain.model_card import Mode
from node.domain.work import OutcomeState
from node.store import findings, outcomes
from node.store.database import Database
from tests.fakes import SERIES, STUDY, FakeClock, arrive, slice_of, volume_finding

#: Fields that findings have got since.
_ADDED = {"present", "operating_point"}
NODULE = Code("27925004", "SCT", "Nodule")


def _outcome(db: Database, clock: FakeClock) -> int:
    arrive(db, clock.now(), slice_of(1))
    with db.transaction():
        return outcomes.add(
            db,
            clock.now(),
            study=STUDY,
            revision=1,
            run_number=1,
            model="brain",
            mode=Mode.LIVE,
            model_digest="m",
            card_digest="c",
            series_instance_uid=SERIES,
            content_digest="d",
            series=(),
            state=OutcomeState.PENDING,
        )


def test_what_a_model_decides_comes_back(db: Database, clock: FakeClock) -> None:
    found = [
        volume_finding(),
        Finding(code=NODULE, probability=0.25, present=False, operating_point=0.5),
        Finding(code=NODULE, present=True),
    ]
    outcome_id = _outcome(db, clock)
    with db.transaction():
        findings.record(db, outcome_id, found)
    assert findings.of_outcome(db, outcome_id) == found


def test_a_row_from_before_models_could_decide_reads_as_undecided(db: Database, clock: FakeClock) -> None:
    outcome_id = _outcome(db, clock)
    with db.transaction():
        findings.record(db, outcome_id, [Finding(code=NODULE, probability=0.25)])
        [row] = db.rows("SELECT body FROM finding")
        older = {key: value for key, value in json.loads(row["body"]).items() if key not in _ADDED}
        db.execute("UPDATE finding SET body = ?", (json.dumps(older),))
    [found] = findings.of_outcome(db, outcome_id)
    assert (found.present, found.operating_point, found.probability) == (None, None, 0.25)
