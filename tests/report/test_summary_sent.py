"""The room writes a summary where a site's viewers would show nothing, one for all models, with pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from node.config import Peer, Settings
from node.store import outbox
from node.store.database import Database, open_database
from node.workflow.policy import Policy
from tests.fakes import FakeClock, peers
from tests.report.test_worker import MODEL, finished_outcome, results, step


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "var", "report")
    yield database
    database.close()


def showing(*classes: str) -> Policy:
    """A policy whose destinations have viewers that show these classes."""
    given = [{**peer, "shows": list(classes)} if "destination" in peer["roles"] else peer for peer in peers()]  # type: ignore[operator]
    settings = Settings.model_validate(
        {"peers": [Peer.model_validate(each) for each in given], "models": {MODEL.card.name: {"mode": "live"}}}
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
