from __future__ import annotations

import pytest

from node.domain.work import ResultState
from node.store.outbox import OutboxRow
from node.workflow.deliveries import deliveries

QUEUED, SENT, COMMITTED, DEAD = ResultState.QUEUED, ResultState.SENT, ResultState.COMMITTED, ResultState.DEAD
HELD, SUPERSEDED, WITHDRAWN = ResultState.HELD, ResultState.SUPERSEDED, ResultState.WITHDRAWN
REPLACED = "replaced by secondary_capture: PACS does not accept Segmentation Storage"


def row(kind: str, state: ResultState, reason: str = "", destination: str = "PACS") -> OutboxRow:
    return OutboxRow(
        id=1,
        artifact_id=1,
        outcome_id=1,
        study_instance_uid="1.2.3",
        destination=destination,
        state=state,
        reason=reason,
        attempts=1,
        owner="",
        kind=kind,
        path="",
        sop_instance_uid="2.25.1",
        sop_class_uid="1.2",
        sent_at="",
    )


@pytest.mark.parametrize(
    ("rows", "state", "reason"),
    [
        ([row("seg", SENT), row("sr", SENT)], "sent", ""),
        ([row("seg", COMMITTED), row("sr", COMMITTED)], "committed", ""),
        ([row("seg", COMMITTED), row("sr", SENT)], "sent", ""),
        ([row("seg", SENT), row("sr", QUEUED)], "queued", "sr is queued"),
        ([row("seg", SENT), row("sr", HELD)], "held", "sr is held"),
        ([row("seg", DEAD), row("sr", SENT)], "sent in part", "seg is dead"),
        ([row("seg", DEAD)], "dead", "seg is dead"),
        (
            [row("seg", SUPERSEDED, REPLACED), row("secondary_capture", SENT), row("sr", SENT)],
            "sent in part",
            "secondary_capture in place of seg",
        ),
        ([row("seg", SUPERSEDED, "a newer revision or run took its place"), row("seg", SENT)], "sent", ""),
        ([row("seg", WITHDRAWN), row("sr", SENT)], "sent", ""),
    ],
)
def test_the_state_at_a_destination_says_what_is_not_there_as_it_was_meant(
    rows: list[OutboxRow], state: str, reason: str
) -> None:
    assert deliveries(rows) == [{"destination": "PACS", "state": state, "reason": reason}]


def test_each_destination_has_its_own_and_one_with_nothing_but_stopped_results_has_none() -> None:
    rows = [row("seg", SENT), row("seg", DEAD, destination="PACS2"), row("seg", WITHDRAWN, destination="PACS3")]
    assert [(each["destination"], each["state"]) for each in deliveries(rows)] == [("PACS", "sent"), ("PACS2", "dead")]
