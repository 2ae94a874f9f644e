"""The room writes a summary where a site's viewers would show nothing, one for all models, with pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from node.config import Peer, Settings
from node.domain.model_card import Mode
from node.domain.work import OutcomeState, WorkKind
from node.errors import Failed
from node.store import outbox, outcomes, work_items
from node.store.database import Database, open_database
from node.workflow import reading
from node.workflow.policy import Policy
from tests.fakes import FakeClock, model, peers
from tests.report.test_worker import MODEL, finished_outcome, outcome_of, results, step

OTHER = model(name="slow")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "var", "report")
    yield database
    database.close()


def showing(*classes: str) -> Policy:
    """A policy whose destinations have viewers that show these classes."""
    given = [{**peer, "shows": list(classes)} if "destination" in peer["roles"] else peer for peer in peers()]  # type: ignore[operator]
    settings = Settings.model_validate(
        {
            "peers": [Peer.model_validate(each) for each in given],
            "models": {MODEL.card.name: {"mode": "live"}, OTHER.card.name: {"mode": "live"}},
        }
    )
    return Policy(settings, (MODEL,), ())


def test_a_site_that_shows_no_segmentation_gets_three_series(db: Database) -> None:
    clock = FakeClock()
    outcome_id = finished_outcome(db, clock)
    assert step(db, clock, showing("SR"))
    stored = results(db, outcome_id)
    assert set(stored) == {"seg", "measurement_sr", "secondary_capture"}
    built = {kind: dcmread(db.folder / each.path) for kind, each in stored.items()}
    assert len({dataset.SeriesInstanceUID for dataset in built.values()}) == 3
    rows = outbox.of_study(db, str(built["seg"].StudyInstanceUID))
    assert {(row.kind, row.destination) for row in rows} == {(kind, "PACS") for kind in stored}
    # The pixels came from the store: the contour of the card's segment is drawn over them.
    colour = MODEL.card.segments[0].colour
    assert np.count_nonzero((built["secondary_capture"].pixel_array == colour).all(axis=2)) > 400


def test_a_site_that_shows_both_gets_two(db: Database) -> None:
    clock = FakeClock()
    outcome_id = finished_outcome(db, clock)
    assert step(db, clock, showing("SEG", "SR"))
    assert set(results(db, outcome_id)) == {"seg", "measurement_sr"}


@pytest.mark.parametrize("told", [True, False])
def test_a_summary_is_written_though_the_last_model_has_no_result(told: bool, db: Database) -> None:
    clock, used = FakeClock(), showing("SR")
    if told:
        peers = tuple(
            each.model_copy(update={"outputs": (*each.outputs, "not_performed_sr")}) for each in used.settings.peers
        )
        used = replace(used, settings=used.settings.model_copy(update={"peers": peers}))
    first = finished_outcome(db, clock)
    study = outcome_of(db, first).study_instance_uid
    with db.transaction():
        slow = outcomes.add(
            db, clock.now(), study=study, revision=1, run_number=1, model=OTHER.card.name, mode=Mode.LIVE,
            model_digest=OTHER.model_digest, card_digest=OTHER.card_digest, series_instance_uid="",
            content_digest="4e" * 32, series=(), state=OutcomeState.PENDING,
        )  # fmt: skip
        work_items.add(db, clock.now(), WorkKind.INFER, slow, study)
    used = replace(used, models=(MODEL, OTHER))
    assert step(db, clock, used)
    assert "secondary_capture" not in results(db, first)
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, "infer:1", 30)
    with db.transaction():
        assert reading.begin(db, clock.now(), item) is not None
        reading.reject(db, clock.now(), used, item, Failed("it broke"))
    while step(db, clock, used):
        pass
    kinds = [row.kind for row in outbox.of_study(db, study)]
    assert sorted(kinds) == sorted(["seg", "measurement_sr", "secondary_capture", *(["not_performed_sr"] * told)])
    assert "secondary_capture" in results(db, first)
    assert work_items.unfinished(db, study, WorkKind.REPORT) == 0
