"""A manager tells that somebody wants a step of ours canceled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.config import Settings
from node.domain.performance import PerformanceState
from node.domain.time import SystemClock
from node.domain.ups import EVENT, PUSH, Report
from node.errors import Refused
from node.receive import status
from node.receive.intakes import Request, ups_event
from node.receive.keeper import Keeper
from node.store import performing
from node.store.database import Database, open_database
from node.store.spool import Spool
from tests.fakes import peers

STEP = "1.2.3.9.7"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = open_database(tmp_path, "receive")
    yield made
    made.close()


@pytest.fixture
def keeper(db: Database) -> Iterator[Keeper]:
    made = Keeper(db, Spool(db.folder), SystemClock())
    yield made
    made.close()


SETTINGS = Settings.model_validate(
    {"peers": [*peers(), {"name": "RIS", "ae_title": "RIS1", "host": "127.0.0.1", "port": 104,
                          "addresses": ["127.0.0.1/32"], "roles": ["ups_manager"]}]}
)  # fmt: skip


def reported(keeper: Keeper, *, peer: str = "RIS", type_id: int = Report.CANCEL_REQUESTED) -> int:
    found = SETTINGS.peer_named(peer)
    assert found is not None
    request = Request(
        operation="N-EVENT-REPORT", sop_class_uid=PUSH, sop_instance_uid=STEP, type_id=type_id, content=b"",
        transfer_syntax_uid="1.2.840.10008.1.2", peer=found, abstract_syntax=EVENT,
    )  # fmt: skip
    return ups_event.answer(SETTINGS, keeper, request).status


def held(db: Database, manager: str = "RIS") -> performing.Performance:
    with db.transaction():
        performing.add(db, SystemClock().now(), manager, STEP, "1.2.3.4")
    found = performing.of_step(db, manager, STEP)
    assert found is not None
    return found


def asked(db: Database, manager: str = "RIS") -> str:
    found = performing.of_step(db, manager, STEP)
    assert found is not None
    return found.cancel_asked


def test_a_request_to_cancel_is_kept(db: Database, keeper: Keeper) -> None:
    held(db)
    assert reported(keeper) == status.SUCCESS
    assert asked(db) == "by RIS"


def test_of_a_step_of_another_manager_or_one_that_is_over_nothing_is_kept(db: Database, keeper: Keeper) -> None:
    held(db, "ANOTHER")
    over = held(db)
    with db.transaction():
        performing.move(db, SystemClock().now(), over, PerformanceState.LOST)
    assert reported(keeper) == status.SUCCESS
    assert (asked(db), asked(db, "ANOTHER")) == ("", "")


def test_other_reports_change_nothing(db: Database, keeper: Keeper) -> None:
    held(db)
    assert reported(keeper, type_id=Report.STATE) == status.SUCCESS
    assert asked(db) == ""


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"peer": "SCANNER"}, status.NOT_AUTHORISED), ({"type_id": 99}, status.NO_SUCH_EVENT_TYPE)],
)
def test_who_is_no_manager_and_what_is_no_event_is_refused(
    db: Database, keeper: Keeper, changes: dict[str, str | int], code: int
) -> None:
    held(db)
    with pytest.raises(Refused) as caught:
        reported(keeper, **changes)  # type: ignore[arg-type]
    assert caught.value.status == code
    assert asked(db) == ""
