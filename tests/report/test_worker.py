"""The room: stored once, queued where it may go, nothing twice, nothing silently."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from node.catalogue import Model
from node.config import Peer
from node.domain.model_card import Condition, Mode
from node.domain.study import Instance, Order
from node.domain.work import OutcomeState, ResultState, WorkKind, WorkState
from node.errors import Failed, Misconfigured, Transient
from node.imaging.mask import Mask, to_bytes
from node.loop import work_step
from node.report import building, gathering, worker
from node.report.documents.predecessors import predecessors
from node.report.evidence import result_uid
from node.report.outputs import Output, outputs
from node.store import arrivals, artifacts, findings, instances, outbox, outcomes, work_items
from node.store.arrivals import Arrival
from node.store.database import Database, open_database
from node.store.outcomes import Outcome
from node.workflow import reportable
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from tests.fakes import FakeClock, model, policy
from tests.report.outputs.test_not_performed_sr import words
from tests.report.synthetic import SCANS, Scan, blob, evidence_on, finding, mr_series

AVAILABLE = outputs()
ROOT = Path(__file__).parents[2]
MODEL = model()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "var", "report")
    yield database
    database.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def finished_outcome(
    db: Database, clock: FakeClock, scan: Scan = SCANS["oblique"], source: str = "SCANNER", mode: Mode = Mode.LIVE
) -> int:
    """A study whose model has left mask and findings, and the `report` item; returns the outcome's id."""
    paths = mr_series(db.folder / "spool", scan)
    evidence = evidence_on(paths)
    with db.transaction():
        for path in paths:
            _arrive(db, clock, path, source)
    ids = [held.id for held in instances.of_study(db)]
    mask = blob(evidence.grid.shape)
    uids = tuple(str(header.SOPInstanceUID) for header in evidence.sources)
    file = db.folder / "masks" / "1.npz"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(to_bytes(Mask(mask, evidence.grid, uids)))
    with db.transaction():
        outcome_id = outcomes.add(
            db,
            clock.now(),
            study=evidence.study_instance_uid,
            revision=1,
            run_number=1,
            model=MODEL.card.name,
            mode=mode,
            model_digest=MODEL.model_digest,
            card_digest=MODEL.card_digest,
            series_instance_uid=evidence.source_series_instance_uid,
            content_digest="3d" * 32,
            series=(),
            state=OutcomeState.PENDING,
            inputs=ids,
        )
        outcomes.move(db, clock.now(), outcome_id, OutcomeState.RUNNING)
        outcomes.move(db, clock.now(), outcome_id, OutcomeState.RESULT)
        findings.record(db, outcome_id, [finding(mask, evidence.grid)])
        artifacts.record(db, clock.now(), outcome_id=outcome_id, kind="mask", path="masks/1.npz", size=1, digest="")
        work_items.add(db, clock.now(), WorkKind.REPORT, outcome_id, evidence.study_instance_uid)
    return outcome_id


def _arrive(db: Database, clock: FakeClock, path: Path, source: str, **described: object) -> None:
    header = dcmread(path, stop_before_pixels=True)
    identity = {
        "study_instance_uid": str(header.StudyInstanceUID),
        "series_instance_uid": str(header.SeriesInstanceUID),
        "sop_instance_uid": str(header.SOPInstanceUID),
        "sop_class_uid": str(header.SOPClassUID),
        "transfer_syntax_uid": str(header.file_meta.TransferSyntaxUID),
    }
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    where = str(path.relative_to(db.folder))
    arrivals.record_arrival(db, clock.now(), Arrival(**identity, digest=digest, size=1, path=where, source=source))
    row = db.row("SELECT max(id) AS id FROM instance")
    assert row is not None
    instances.record_description(db, row["id"], Instance(**identity, **described), ours=False)


def step(db: Database, clock: FakeClock, used: Policy, available: dict[str, Output] | None = None) -> bool:
    return work_step(db, clock, worker.handling(db, clock, used, available or AVAILABLE))()


def outcome_of(db: Database, outcome_id: int) -> Outcome:
    found = outcomes.outcome(db, outcome_id)
    assert found is not None
    return found


def results(db: Database, outcome_id: int) -> dict[str, artifacts.Artifact]:
    return {each.kind: each for each in artifacts.of_outcome(db, outcome_id) if each.kind != "mask"}


def test_both_objects_are_stored_under_their_derived_uids(db: Database, clock: FakeClock) -> None:
    outcome_id = finished_outcome(db, clock)
    assert step(db, clock, policy(MODEL))
    stored = results(db, outcome_id)
    assert set(stored) == {"seg", "measurement_sr"}
    outcome = outcome_of(db, outcome_id)
    for kind, artifact in stored.items():
        uid = result_uid(
            study_instance_uid=outcome.study_instance_uid,
            content_digest=outcome.content_digest,
            model_digest=outcome.model_digest,
            card_digest=outcome.card_digest,
            kind=kind,
            profile="standard",
            series_instance_uid=outcome.series_instance_uid,
            run_number=1,
        )
        assert artifact.sop_instance_uid == uid
        assert artifact.path == f"results/{uid}.dcm"
        content = (db.folder / artifact.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (artifact.size, artifact.digest)
        dataset = dcmread(db.folder / artifact.path)
        assert (dataset.SOPInstanceUID, dataset.SOPClassUID) == (uid, artifact.sop_class_uid)


def test_files_rows_and_queue_are_written_together(db: Database, clock: FakeClock) -> None:
    outcome_id = finished_outcome(db, clock)
    step(db, clock, policy(MODEL))
    queued = outbox.of_study(db, outcome_of(db, outcome_id).study_instance_uid)
    assert {(row.kind, row.destination) for row in queued} == {("seg", "PACS"), ("measurement_sr", "PACS")}
    assert work_items.state(db, WorkKind.REPORT, outcome_id) is WorkState.FINISHED


def test_results_go_only_where_the_source_lets_them(db: Database, clock: FakeClock) -> None:
    outcome_id = finished_outcome(db, clock, source="OTHER")
    step(db, clock, policy(MODEL))
    queued = outbox.of_study(db, outcome_of(db, outcome_id).study_instance_uid)
    assert {row.destination for row in queued} == {"PACS2"}


def test_an_imported_study_has_its_results_stored_and_sent_nowhere(db: Database, clock: FakeClock) -> None:
    outcome_id = finished_outcome(db, clock, source="import")
    step(db, clock, policy(MODEL))
    assert len(results(db, outcome_id)) == 2
    assert outbox.of_study(db, outcome_of(db, outcome_id).study_instance_uid) == []


def test_a_destination_gets_only_the_outputs_it_asks_for(db: Database, clock: FakeClock) -> None:
    used = policy(MODEL)
    peers = tuple(
        peer.model_copy(update={"outputs": ("measurement_sr",)}) if peer.name == "PACS" else peer
        for peer in used.settings.peers
    )
    used = replace(used, settings=used.settings.model_copy(update={"peers": peers}))
    outcome_id = finished_outcome(db, clock)
    step(db, clock, used)
    queued = outbox.of_study(db, outcome_of(db, outcome_id).study_instance_uid)
    assert [row.kind for row in queued] == ["measurement_sr"]
    assert set(results(db, outcome_id)) == {"seg", "measurement_sr"}


def test_the_dates_are_those_of_the_stored_finish_time(db: Database, clock: FakeClock) -> None:
    outcome_id = finished_outcome(db, clock, SCANS["with a time zone"])
    clock.forward(7200)
    step(db, clock, policy(MODEL))
    for artifact in results(db, outcome_id).values():
        dataset = dcmread(db.folder / artifact.path)
        assert (dataset.ContentDate, dataset.ContentTime) == ("20260101", "233405.000000")


def test_a_death_before_the_commit_leads_to_the_same_files(
    db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome_id = finished_outcome(db, clock)
    used = policy(MODEL)

    def lost(*_: object) -> bool:
        raise Transient("database: locked")

    with monkeypatch.context() as patched:
        patched.setattr(worker.reporting, "complete", lost)
        step(db, clock, used)
    before = {path.name: path.read_bytes() for path in (db.folder / "results").iterdir()}
    assert results(db, outcome_id) == {}
    clock.forward(60)
    step(db, clock, used)
    assert {path.name: path.read_bytes() for path in (db.folder / "results").iterdir()} == before
    assert len(results(db, outcome_id)) == 2


def test_what_is_recorded_is_not_built_again(db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome_id = finished_outcome(db, clock)
    step(db, clock, policy(MODEL))
    before = results(db, outcome_id)
    with db.transaction():
        db.execute("UPDATE work_item SET state = 'ready' WHERE kind = 'report'")
    monkeypatch.setattr(building, "compose", lambda *_: pytest.fail("built again"))
    assert step(db, clock, policy(MODEL))
    assert results(db, outcome_id) == before
    assert len(outbox.of_study(db, outcome_of(db, outcome_id).study_instance_uid)) == 2


def test_a_file_that_outlived_its_row_goes_out_as_it_is(db: Database, clock: FakeClock) -> None:
    outcome_id = finished_outcome(db, clock)
    step(db, clock, policy(MODEL))
    whole = results(db, outcome_id)
    before = {path.name: path.read_bytes() for path in (db.folder / "results").iterdir()}
    with db.transaction():
        db.execute("DELETE FROM outbox")
        db.execute("DELETE FROM artifact WHERE kind != 'mask'")
        db.execute("UPDATE outcome SET finished_at = '2031-01-01T00:00:00.000000+00:00'")
        db.execute("UPDATE work_item SET state = 'ready' WHERE kind = 'report'")
    step(db, clock, policy(MODEL))
    assert {path.name: path.read_bytes() for path in (db.folder / "results").iterdir()} == before
    assert {kind: each.digest for kind, each in results(db, outcome_id).items()} == {
        kind: each.digest for kind, each in whole.items()
    }


def test_a_report_that_is_missing_beside_its_segmentation_is_built_on_the_stored_one(
    db: Database, clock: FakeClock
) -> None:
    outcome_id = finished_outcome(db, clock)
    step(db, clock, policy(MODEL))
    whole = results(db, outcome_id)
    content = (db.folder / whole["measurement_sr"].path).read_bytes()
    with db.transaction():
        db.execute("DELETE FROM outbox")
        db.execute("DELETE FROM artifact WHERE kind = 'measurement_sr'")
        db.execute("UPDATE work_item SET state = 'ready' WHERE kind = 'report'")
    step(db, clock, policy(MODEL))
    again = results(db, outcome_id)
    assert again["seg"] == whole["seg"]
    assert (db.folder / again["measurement_sr"].path).read_bytes() == content


def test_a_superseded_outcome_is_not_written_down(db: Database, clock: FakeClock) -> None:
    outcome_id = finished_outcome(db, clock)
    with db.transaction():
        outcomes.move(db, clock.now(), outcome_id, OutcomeState.SUPERSEDED)
    step(db, clock, policy(MODEL))
    assert results(db, outcome_id) == {}
    assert work_items.state(db, WorkKind.REPORT, outcome_id) is WorkState.FINISHED


def spoil_mask(db: Database) -> None:
    (db.folder / "masks" / "1.npz").write_bytes(b"rubbish")


def lose_mask(db: Database) -> None:
    with db.transaction():
        db.execute("DELETE FROM artifact")


def lose_input(db: Database) -> None:
    next((db.folder / "spool").iterdir()).unlink()


def swap_input(db: Database) -> None:
    with db.transaction():
        db.execute("UPDATE instance SET sop_instance_uid = '1.2.3' WHERE id = 1")


def empty_segment(db: Database) -> None:
    evidence = evidence_on(sorted((db.folder / "spool").iterdir()))
    uids = tuple(str(header.SOPInstanceUID) for header in evidence.sources)
    empty = np.zeros(evidence.grid.shape, np.uint8)
    (db.folder / "masks" / "1.npz").write_bytes(to_bytes(Mask(empty, evidence.grid, uids)))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_mask, "cannot be read"),
        (lose_mask, "left no mask"),
        (lose_input, "is gone"),
        (swap_input, "no inputs of the outcome"),
        (empty_segment, "mask is empty"),
    ],
)
def test_what_cannot_be_written_down_fails_with_the_reason(
    spoil: Callable[[Database], None], reason: str, db: Database, clock: FakeClock
) -> None:
    outcome_id = finished_outcome(db, clock)
    spoil(db)
    step(db, clock, policy(MODEL))
    outcome = outcome_of(db, outcome_id)
    assert outcome.state is OutcomeState.FAILED
    assert reason in outcome.reason
    assert results(db, outcome_id) == {}


def test_an_input_that_is_away_is_waited_for(db: Database, clock: FakeClock) -> None:
    outcome_id = finished_outcome(db, clock)
    path = next((db.folder / "spool").iterdir())
    path.rename(path.with_suffix(".away"))
    path.mkdir()
    step(db, clock, policy(MODEL))
    assert outcome_of(db, outcome_id).state is OutcomeState.RESULT
    assert work_items.state(db, WorkKind.REPORT, outcome_id) is WorkState.READY
    path.rmdir()
    path.with_suffix(".away").rename(path)
    clock.forward(60)
    step(db, clock, policy(MODEL))
    assert len(results(db, outcome_id)) == 2


def test_a_card_that_has_changed_since_is_never_used(
    db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = replace(MODEL, card_digest="d" * 64)
    monkeypatch.setattr(gathering, "load_policy", lambda settings: policy(changed))
    outcome_id = finished_outcome(db, clock)
    step(db, clock, policy(changed))
    assert outcome_of(db, outcome_id).state is OutcomeState.FAILED
    assert "card of brain has changed" in outcome_of(db, outcome_id).reason


def test_a_card_that_changed_before_the_run_is_read_anew(
    db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "load_policy", lambda settings: policy(MODEL))
    outcome_id = finished_outcome(db, clock)
    step(db, clock, policy(replace(MODEL, card_digest="d" * 64)))
    assert outcome_of(db, outcome_id).state is OutcomeState.RESULT
    assert len(results(db, outcome_id)) == 2


def with_worklist(*models: Model) -> Policy:
    """A policy where what the scanner sends is told to the archive and to a reading worklist."""
    place = {"host": "127.0.0.1", "port": 4243}
    used = policy(
        *models,
        more_peers=({"name": "WORKLIST", "ae_title": "WL", "roles": ["destination", "worklist"], **place},),
    )
    told = {"results_to": ("PACS", "WORKLIST")}
    peers = tuple(each.model_copy(update=told) if each.name == "SCANNER" else each for each in used.settings.peers)
    return replace(used, settings=used.settings.model_copy(update={"peers": peers}))


@pytest.mark.parametrize("state", [OutcomeState.NOT_APPLICABLE, OutcomeState.FAILED, OutcomeState.INCOMPLETE])
def test_that_a_model_did_not_read_is_told_to_the_worklist_alone(
    state: OutcomeState, db: Database, clock: FakeClock
) -> None:
    used = with_worklist(MODEL)
    paths = mr_series(db.folder / "spool", SCANS["oblique"])
    with db.transaction():
        for path in paths:
            _arrive(db, clock, path, "SCANNER")
        outcome_id = outcomes.add(
            db,
            clock.now(),
            study=str(dcmread(paths[0]).StudyInstanceUID),
            revision=1,
            run_number=1,
            model=MODEL.card.name,
            mode=Mode.LIVE,
            model_digest=MODEL.model_digest,
            card_digest=MODEL.card_digest,
            series_instance_uid="",
            content_digest="",
            series=(),
            state=OutcomeState.PENDING,
        )
        outcomes.move(db, clock.now(), outcome_id, state, "only 7 slices: too few")
        reportable.begin(db, clock.now(), used, outcome_of(db, outcome_id))
    assert step(db, clock, used)
    [row] = outbox.of_study(db, outcome_of(db, outcome_id).study_instance_uid)
    assert (row.kind, row.destination) == ("not_performed_sr", "WORKLIST")
    report = dcmread(db.folder / row.path)
    assert "NOT READ" in report.SeriesDescription
    assert "only 7 slices: too few" in words(report)
    assert report.PatientID == "T-1"
    assert outcome_of(db, outcome_id).state is state


@pytest.mark.parametrize(("study_date", "told"), [("20260101", ["WORKLIST"]), ("20200101", [])])
def test_a_prior_that_nothing_reads_is_told_to_nobody(
    study_date: str, told: list[str], db: Database, clock: FakeClock
) -> None:
    reads_ct = model(requires=(Condition(field="modality", one_of=("CT",), because="not CT"),))
    used = with_worklist(reads_ct)
    paths = mr_series(db.folder / "spool", SCANS["oblique"])
    with db.transaction():
        for path in paths:
            _arrive(db, clock, path, "SCANNER", modality="MR", order=Order(study_date=study_date))
    close_due(db, clock.forward(3600), used)
    study = str(dcmread(paths[0]).StudyInstanceUID)
    assert [outcome.state for outcome in outcomes.current(db, study)] == [OutcomeState.NOT_APPLICABLE]
    assert step(db, clock, used) is bool(told)
    assert [row.destination for row in outbox.of_study(db, study)] == told


def test_a_new_result_names_the_reports_that_were_sent_before_it(db: Database, clock: FakeClock) -> None:
    first = finished_outcome(db, clock)
    step(db, clock, policy(MODEL))
    study = outcome_of(db, first).study_instance_uid
    rows = {row.kind: row for row in outbox.of_study(db, study)}
    with db.transaction():
        outbox.move(db, clock.now(), rows["measurement_sr"], ResultState.SENT, "")
        outbox.move(db, clock.now(), rows["seg"], ResultState.SENT, "")
        outcomes.move(db, clock.now(), first, OutcomeState.SUPERSEDED)
        newer = outcomes.add(
            db, clock.now(), study=study, revision=2, run_number=1, model=MODEL.card.name, mode=Mode.LIVE,
            model_digest=MODEL.model_digest, card_digest=MODEL.card_digest, series_instance_uid="",
            content_digest="4e" * 32, series=(), state=OutcomeState.PENDING,
        )  # fmt: skip
    found = predecessors(db, outcome_of(db, newer))
    before = dcmread(db.folder / rows["measurement_sr"].path)
    assert [each.kind for each in found] == ["measurement_sr"]
    assert found[0].sop_instance_uid == before.SOPInstanceUID
    assert found[0].series_instance_uid == before.SeriesInstanceUID
    assert predecessors(db, outcome_of(db, first)) == ()


def test_a_report_that_never_left_is_no_predecessor(db: Database, clock: FakeClock) -> None:
    first = finished_outcome(db, clock)
    step(db, clock, policy(MODEL))
    later = replace(outcome_of(db, first), id=first + 1)
    assert predecessors(db, later) == ()


def test_every_output_that_any_destination_wants_is_built() -> None:
    peers = [
        Peer(name="A", ae_title="A", outputs=("seg",)),
        Peer(name="B", ae_title="B", outputs=("measurement_sr", "labelmap_seg")),
    ]
    assert worker.wanted(peers) == {"standard": {"seg", "measurement_sr", "classification_sr", "labelmap_seg"}}
    assert worker.wanted([]) == {"standard": {"seg", "measurement_sr", "classification_sr"}}


def test_an_output_that_does_not_exist_stops_the_room_with_the_remedy() -> None:
    for key in ("outputs", "fallback"):
        peer = Peer.model_validate({"name": "PACS", "ae_title": "PACS", key: ["seg", "hologram"]})
        with pytest.raises(Misconfigured, match=rf"peers\.PACS\.{key}.*hologram.*Choose from"):
            worker.check_outputs([peer], AVAILABLE)


def test_an_output_that_fails_leaves_nothing_recorded(db: Database, clock: FakeClock) -> None:
    class Refusing:
        KIND = "measurement_sr"
        NEEDS = ("seg",)
        SCOPE = "model"

        def unfit(self, evidence: object) -> str:
            return ""

        def build(self, evidence: object, built: object) -> object:
            raise Failed("no words for it")

    outcome_id = finished_outcome(db, clock)
    step(db, clock, policy(MODEL), AVAILABLE | {"measurement_sr": Refusing()})
    assert outcome_of(db, outcome_id).reason == "no words for it"
    assert results(db, outcome_id) == {}


def test_warming_up_writes_nothing_down(tmp_path: Path) -> None:
    from node.report.warming import warm

    warm(worker.DEFAULT_OUTPUTS, AVAILABLE)
    assert list(tmp_path.iterdir()) == []


def test_the_room_says_when_it_is_ready_and_ends_when_asked(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(60)
        room = subprocess.Popen(
            [sys.executable, "-m", "node", "report", "--config", ROOT / "config.toml", "--data", tmp_path / "var"],
            cwd=ROOT,
            env=os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")},
            stderr=subprocess.PIPE,
        )
        try:
            told = supervisor.recv(4096).decode()
            while "READY=1" not in told:
                told = supervisor.recv(4096).decode()
            mapped = Path(f"/proc/{room.pid}/maps").read_text()
            room.send_signal(signal.SIGTERM)
            _, complaints = room.communicate(timeout=30)
        finally:
            room.kill()
    assert "measurement_sr" in told
    assert "libtorch" not in mapped
    assert (room.returncode, complaints.decode()) == (0, "")
