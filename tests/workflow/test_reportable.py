"""What a destination is sent, and that a summary speaks where its viewers would show nothing."""

from __future__ import annotations

import pytest

from node.config import Peer
from node.domain.output import SHOWN_AS_OF_OUTPUT, SOP_CLASS_OF_OUTPUT
from node.domain.work import OutcomeState, ResultState
from node.store import outbox
from node.store.database import Database
from node.workflow import reporting
from node.workflow.reportable import kinds_for
from node.workflow.reporting import BuiltResult
from tests.fakes import STUDY, FakeClock, model, policy
from tests.workflow.test_reading import closed_study, read, report


def peer(**more: object) -> Peer:
    given = {"name": "PACS", "ae_title": "PACS", "host": "127.0.0.1", "port": 4242, "roles": ["destination"]}
    return Peer.model_validate({**given, **more})


def summary(run: int) -> BuiltResult:
    return BuiltResult(
        kind="secondary_capture",
        profile="standard",
        path=f"results/2.25.{run}.dcm",
        size=1,
        digest="0" * 64,
        sop_instance_uid=f"2.25.{run}",
        sop_class_uid=SOP_CLASS_OF_OUTPUT["secondary_capture"],
    )


def test_by_default_a_model_adds_a_segmentation_and_a_report() -> None:
    assert kinds_for(peer(), OutcomeState.RESULT) == ("seg", "measurement_sr", "classification_sr")


@pytest.mark.parametrize("shows", [["SR"], ["SEG"], ["SR", "SC"], []])
def test_a_summary_is_added_where_one_of_them_is_not_shown(shows: list[str]) -> None:
    kinds = kinds_for(peer(shows=shows), OutcomeState.RESULT)
    assert kinds == ("seg", "measurement_sr", "classification_sr", "secondary_capture")


def test_a_summary_is_added_once() -> None:
    asked = ["secondary_capture", "seg", "not_performed_sr"]
    assert kinds_for(peer(shows=["SR"], outputs=asked), OutcomeState.RESULT) == ("secondary_capture", "seg")


def test_what_was_not_read_needs_no_summary() -> None:
    unseen = peer(shows=[], outputs=["seg", "not_performed_sr"])
    assert kinds_for(unseen, OutcomeState.FAILED) == ("not_performed_sr",)


def test_both_tables_know_the_same_outputs() -> None:
    assert SHOWN_AS_OF_OUTPUT.keys() == SOP_CLASS_OF_OUTPUT.keys()


def test_an_older_summary_that_has_not_left_gives_way_to_the_newer(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    closed_study(db, clock, used)
    outcome_id = read(db, clock, used)
    report(db, clock, used)
    with db.transaction():
        reporting.queue(db, clock.now(), outcome_id, STUDY, summary(1), ["PACS", "PACS2"])
    old, sent = (row for row in outbox.of_study(db, STUDY) if row.kind == "secondary_capture")
    with db.transaction():
        assert outbox.move(db, clock.now(), sent, ResultState.SENT, "")
    db.execute("UPDATE artifact SET profile = 'ohif' WHERE id = ?", (old.artifact_id,))  # another outcome's
    with db.transaction():
        reporting.queue(db, clock.now(), outcome_id, STUDY, summary(2), ["PACS", "PACS2"])
        reporting.queue(db, clock.now(), outcome_id, STUDY, summary(2), ["PACS", "PACS2"])
    rows = [(row.sop_instance_uid, row.destination, row.state) for row in outbox.of_study(db, STUDY)]
    assert rows[2:] == [
        ("2.25.1", "PACS", ResultState.SUPERSEDED),
        ("2.25.1", "PACS2", ResultState.SENT),
        ("2.25.2", "PACS", ResultState.QUEUED),
        ("2.25.2", "PACS2", ResultState.QUEUED),
    ]
    assert [row.state for row in outbox.of_study(db, STUDY)[:2]] == [ResultState.QUEUED] * 2
