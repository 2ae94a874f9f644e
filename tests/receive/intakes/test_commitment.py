"""Reports on storage commitment at our own door: from whom they are taken, and what of them is believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import cast

import pytest
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role

from node.config import Peer, Settings
from node.domain.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from node.domain.time import SystemClock
from node.domain.work import ResultState
from node.errors import Refused
from node.receive import commitment_report
from node.receive.intakes import Request, commitment, cstore, dimse_services
from node.receive.keeper import Keeper
from node.store import commitments, events, outbox
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.store.spool import Spool
from tests.associations import associated
from tests.deliver.conftest import SR, queue_results
from tests.fakes import STUDY, FakeClock
from tests.receive.objects import PEER, encoded, settings_for

TRANSACTION = "2.25.4711"
ROLES = {**PEER, "name": "PACS", "roles": ["destination"], "host": "127.0.0.1", "port": 104}


def item(uid: str, reason: int | None = None, sop_class: str = SR) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID = sop_class
    made.add(DataElement(0x00081155, "UI", uid, validation_mode=IGNORE))
    if reason is not None:
        made.FailureReason = reason
    return made


def report(
    committed: Sequence[str] = (), failed: dict[str, int] | None = None, transaction_uid: str = TRANSACTION
) -> Dataset:
    made = Dataset()
    made.add(DataElement(0x00081195, "UI", transaction_uid, validation_mode=IGNORE))
    made.RetrieveAETitle = "PACS"
    made.ReferencedSOPSequence = [item(uid) for uid in committed]
    if failed:
        made.FailedSOPSequence = [item(uid, reason) for uid, reason in failed.items()]
    return made


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def asked(db: Database, clock: FakeClock) -> list[OutboxRow]:
    """Two results that PACS was sent, and asked to commit itself to."""
    rows = queue_results(db, clock.now(), (1, 2))
    with db.transaction():
        for row in rows:
            outbox.move(db, clock.now(), row, ResultState.SENT, "")
        commitments.record_asked(db, clock.now(), TRANSACTION, "PACS", rows, wait_s=86400)
    return outbox.with_ids(db, [row.id for row in rows])


def tell(settings: Settings, db: Database, clock: FakeClock, said: Dataset | bytes, **changes: object) -> int:
    """Hand a request to the intake; return the status."""
    syntax = str(changes.get("transfer_syntax_uid", ExplicitVRLittleEndian))
    made = {
        "operation": "N-EVENT-REPORT",
        "sop_class_uid": PUSH_MODEL,
        "sop_instance_uid": PUSH_MODEL_INSTANCE,
        "type_id": 1,
        "content": said if isinstance(said, bytes) else encoded(said, syntax),
        "transfer_syntax_uid": syntax,
        "peer": Peer.model_validate(ROLES),
    }
    keeper = cast("Keeper", SimpleNamespace(db=db, clock=clock))
    try:
        return commitment.answer(settings, keeper, Request(**(made | changes))).status  # type: ignore[arg-type]
    except Refused as error:
        return error.status


def states(db: Database) -> list[str]:
    return [row.state.value for row in outbox.of_study(db, STUDY)]


def test_it_is_found_by_listing_the_folder() -> None:
    assert dimse_services()[PUSH_MODEL] is commitment  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_mixed_report_is_taken_in_before_it_is_answered(
    settings: Settings, db: Database, clock: FakeClock, asked: list[OutboxRow], syntax: str
) -> None:
    first, second = (row.sop_instance_uid for row in asked)
    said = report([first], {second: 0x0112})
    assert tell(settings, db, clock, said, type_id=2, transfer_syntax_uid=syntax) == 0x0000
    assert states(db) == ["committed", "queued"]
    assert tell(settings, db, clock, said, type_id=2, transfer_syntax_uid=syntax) == 0x0000
    assert states(db) == ["committed", "queued"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"operation": "N-ACTION"}, 0x0211),
        ({"operation": "N-GET"}, 0x0211),
        ({"peer": Peer.model_validate({**ROLES, "roles": ["source"]})}, 0x0124),
        ({"peer": Peer.model_validate({**ROLES, "name": "OTHER"})}, 0x0110),
        ({"sop_instance_uid": "1.2.3"}, 0x0112),
        ({"sop_instance_uid": ""}, 0x0112),
        ({"type_id": 3}, 0x0113),
        ({"type_id": None}, 0x0113),
        ({"content": b""}, 0x0120),
        ({"content": b"\x08\x00\x95\x11UI\xff\x00"}, 0x0110),
        ({"content": b"junk" * 30}, 0x0110),
    ],
)
def test_what_is_no_report_of_who_was_asked_is_refused(
    settings: Settings,
    db: Database,
    clock: FakeClock,
    asked: list[OutboxRow],
    changes: dict[str, object],
    status: int,
) -> None:
    said = report([row.sop_instance_uid for row in asked])
    assert tell(settings, db, clock, said, **changes) == status
    assert states(db) == ["sent", "sent"]


def test_an_unknown_transaction_is_answered_0110(
    settings: Settings, db: Database, clock: FakeClock, asked: list[OutboxRow]
) -> None:
    uids = [row.sop_instance_uid for row in asked]
    assert tell(settings, db, clock, report(uids, transaction_uid="2.25.1")) == 0x0110
    assert tell(settings, db, clock, report(uids, transaction_uid="../../etc/passwd")) == 0x0106
    assert tell(settings, db, clock, report(uids, transaction_uid="")) == 0x0120
    assert states(db) == ["sent", "sent"]


def test_uids_that_nobody_asked_for_change_nothing_and_are_kept_nowhere(
    settings: Settings, db: Database, clock: FakeClock, asked: list[OutboxRow]
) -> None:
    ours = asked[0].sop_instance_uid
    strangers = ["../../etc/passwd", "$(touch x)", "1.2.3", "1..2", f"{ours}\\{ours}", "9" * 64]
    said = report([ours, *strangers], {"1.2.4/..": 0x0112, asked[1].sop_instance_uid: 0x0110})
    assert tell(settings, db, clock, said, type_id=2) == 0x0000
    assert states(db) == ["committed", "sent"]
    told = " ".join(f"{each.subject} {each.reason}" for each in events.of_study(db, STUDY))
    assert not any(stranger in told for stranger in ("etc", "touch", "1.2.4"))


def test_a_report_of_too_many_is_refused(
    settings: Settings, db: Database, clock: FakeClock, asked: list[OutboxRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment_report, "_MOST_INSTANCES", 3)
    assert tell(settings, db, clock, report([f"1.2.{number}" for number in range(4)])) == 0x0213
    assert tell(settings, db, clock, report([asked[0].sop_instance_uid])) == 0x0000


def test_the_reason_of_a_failure_is_read_in_every_encoding_and_may_be_missing() -> None:
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian):
        said = report([], {"1.2.3": 0x0213})
        said.FailedSOPSequence.append(item("1.2.4"))
        assert dict(commitment_report.read(encoded(said, syntax), syntax).failed) == {"1.2.3": 0x0213, "1.2.4": 0}


def test_a_result_named_as_kept_and_as_failed_is_not_kept(
    settings: Settings, db: Database, clock: FakeClock, asked: list[OutboxRow]
) -> None:
    uid = asked[0].sop_instance_uid
    assert tell(settings, db, clock, report([uid], {uid: 0x0119}), type_id=2) == 0x0000
    assert states(db) == ["sent", "sent"]


def roles_of(port: int, *, scu: bool | None = None, scp: bool | None = None) -> tuple[int, tuple[bool, bool] | None]:
    """Call the door as PACS for storage commitment: the context's result, and the role that we are granted."""
    entity = AE("PACS")
    entity.add_requested_context(PUSH_MODEL, ExplicitVRLittleEndian)
    entity.add_requested_context("1.2.840.10008.1.1")
    proposed = [] if scu is None or scp is None else [build_role(PUSH_MODEL, scu_role=scu, scp_role=scp)]
    with associated(entity, port, ae_title="MATINS", ext_neg=proposed) as association:
        assert association.is_established
        results = [*association.accepted_contexts, *association.rejected_contexts]
        [result] = [each.result for each in results if each.abstract_syntax == PUSH_MODEL]
        granted = association.acceptor.role_selection.get(UID(PUSH_MODEL))
        return int(result or 0), granted and (granted.scu_role, granted.scp_role)


@pytest.fixture
def door_port(db: Database) -> Iterator[int]:
    """The whole door, for PACS."""
    settings = settings_for(db.folder, {**ROLES, "ae_title": "PACS"})
    keeper = Keeper(db, Spool(db.folder), SystemClock(), segment_bytes=4 << 20)
    running = cstore.start(settings, keeper)
    yield settings.node.port
    running.stop(0.0)
    keeper.close()


def test_only_who_takes_the_role_of_provider_is_accepted(door_port: int) -> None:
    assert roles_of(door_port, scu=False, scp=True) == (0, (False, True))
    assert roles_of(door_port, scu=True, scp=True) == (0, (False, True))
    # Matins commits itself to nothing: who asks it to is not even listened to.
    assert roles_of(door_port) == (1, None)
    assert roles_of(door_port, scu=True, scp=False)[0] == 1


def test_an_archive_reports_over_an_association_of_its_own(
    door_port: int, db: Database, clock: FakeClock, asked: list[OutboxRow]
) -> None:
    entity = AE("PACS")
    entity.add_requested_context(PUSH_MODEL, ExplicitVRLittleEndian)
    roles = [build_role(PUSH_MODEL, scp_role=True)]
    uids = [row.sop_instance_uid for row in asked]
    with associated(entity, door_port, ae_title="MATINS", ext_neg=roles) as association:
        told = [
            association.send_n_event_report(report(uids, transaction_uid=uid), 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)[0]
            for uid in ("2.25.1", TRANSACTION, TRANSACTION)
        ]
    assert [each.Status for each in told] == [0x0110, 0x0000, 0x0000]
    assert states(db) == ["committed", "committed"]
    [refused] = [each for each in events.latest(db, "association") if each.after == "refused"]
    assert "N-EVENT-REPORT: 0x0110: PACS was not asked this transaction" in refused.reason
