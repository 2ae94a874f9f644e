"""A destination that does not store an output gets the next kind that it takes, and the state says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from node.domain.finding import Finding
from node.domain.output import SOP_CLASS_OF_OUTPUT
from node.domain.work import OutcomeState, ResultState, WorkKind, WorkState
from node.errors import Failed
from node.loop import work_step
from node.report import replacing
from node.report.evidence import Evidence
from node.report.outputs import Output
from node.store import artifacts, capabilities, findings, instances, outbox, outcomes, work_items
from node.store.capabilities import ANY_SYNTAX, Capability
from node.store.database import Database, open_database
from node.store.outbox import OutboxRow
from node.workflow import refusal
from node.workflow.policy import Policy
from tests.fakes import FakeClock, model, policy
from tests.report.synthetic import HAEMORRHAGE
from tests.report.test_worker import MODEL, _arrive, finished_outcome, outcome_of
from tests.report.test_worker import step as report_step


@dataclass(frozen=True)
class Fake:
    """An output that says its kind and nothing else."""

    KIND: str
    SCOPE: str = "model"
    FALLBACKS: tuple[str, ...] = ()
    NEEDS: tuple[str, ...] = ()
    SHOWN_AS: str = "SC"
    reason: str = ""
    fault: str = ""

    def unfit(self, evidence: Evidence) -> str:
        return self.reason

    def build(self, evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:
        if self.fault:
            raise Failed(self.fault)
        made = Dataset()
        made.SOPClassUID = SOP_CLASS_OF_OUTPUT[self.KIND]
        made.SOPInstanceUID = evidence.uid(self.KIND, "instance")
        made.StudyInstanceUID = evidence.study_instance_uid
        made.SeriesInstanceUID = evidence.uid(self.KIND, "series")
        made.ImageComments = " and ".join(sorted(each.card.name for each in evidence.together)) or evidence.card.name
        made.file_meta = Dataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return made


FAKES: dict[str, Fake] = {kind: Fake(kind) for kind in SOP_CLASS_OF_OUTPUT} | {
    "classification_sr": Fake("classification_sr", reason="it classified nothing"),
    "secondary_capture": Fake("secondary_capture", SCOPE="study"),
    "labelmap_seg": Fake("labelmap_seg", FALLBACKS=("seg",)),
    "measurement_sr": Fake("measurement_sr", FALLBACKS=("comprehensive_sr", "secondary_capture")),
    "comprehensive_sr": Fake("comprehensive_sr", FALLBACKS=("secondary_capture",)),
}
Refuse = Callable[..., OutboxRow]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "var", "report")
    yield database
    database.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def available(**changes: Fake) -> Mapping[str, Output]:
    return FAKES | changes  # type: ignore[return-value]


def used(**changes: object) -> Policy:
    """The policy of the fakes, with changes to the peer PACS."""
    made = policy(MODEL)
    peers = tuple(peer.model_copy(update=changes) if peer.name == "PACS" else peer for peer in made.settings.peers)
    return replace(made, settings=made.settings.model_copy(update={"peers": peers}))


def reported(db: Database, clock: FakeClock, how: Policy | None = None) -> str:
    """A result whose outputs are queued; returns its study."""
    outcome_id = finished_outcome(db, clock)
    assert report_step(db, clock, how or used(), dict(available()))
    return outcome_of(db, outcome_id).study_instance_uid


def refuse(db: Database, clock: FakeClock, study: str, kind: str) -> OutboxRow:
    """The destination does not take what is queued of this kind."""
    (row,) = (each for each in outbox.of_study(db, study) if each.kind == kind and each.state is ResultState.QUEUED)
    with db.transaction():
        assert refusal.refuse(db, clock.now(), row, "it does not take it")
    return row


def step(db: Database, clock: FakeClock, how: Policy | None = None, **changes: Fake) -> bool:
    made = replacing.handling(db, clock, how or used(), available(**changes), "report:")
    return work_step(db, clock, made)()


def told(db: Database, study: str) -> dict[str, tuple[ResultState, str]]:
    return {row.kind: (row.state, row.reason) for row in outbox.of_study(db, study)}


def test_the_next_kind_is_queued_there_alone_and_the_old_row_says_what_took_its_place(
    db: Database, clock: FakeClock
) -> None:
    study = reported(db, clock)
    refuse(db, clock, study, "seg")
    assert step(db, clock)
    assert told(db, study) == {
        "seg": (ResultState.SUPERSEDED, "replaced by labelmap_seg: it does not take it"),
        "labelmap_seg": (ResultState.QUEUED, ""),
        "measurement_sr": (ResultState.QUEUED, ""),
    }
    assert {row.destination for row in outbox.of_study(db, study)} == {"PACS"}
    assert not step(db, clock)


def test_a_refused_fallback_leads_to_the_one_after_it_and_in_the_end_the_last_stays_dead_with_the_remedy(
    db: Database, clock: FakeClock
) -> None:
    study = reported(db, clock)
    seen = []
    for kind in ("seg", "labelmap_seg", "presentation_state", "secondary_capture"):
        refuse(db, clock, study, kind)
        assert step(db, clock)
        seen.append(outbox.of_study(db, study)[-1].kind)
    assert seen == ["labelmap_seg", "presentation_state", "secondary_capture", "encapsulated_pdf"]
    refuse(db, clock, study, "encapsulated_pdf")
    assert step(db, clock)
    assert told(db, study)["encapsulated_pdf"] == (ResultState.DEAD, "it does not take it")
    assert "rtstruct" not in told(db, study)


def test_an_rt_structure_set_takes_nothings_place_even_where_the_site_lists_it(db: Database, clock: FakeClock) -> None:
    how = used(fallback=("rtstruct",))
    study = reported(db, clock, how)
    refuse(db, clock, study, "seg")
    assert step(db, clock, how)
    assert told(db, study)["seg"][0] is ResultState.DEAD
    assert "rtstruct" not in told(db, study)


def test_an_output_that_names_its_own_fallbacks_is_followed_and_then_what_the_site_lists_after_them(
    db: Database, clock: FakeClock
) -> None:
    study = reported(db, clock)
    chain = ("measurement_sr", "comprehensive_sr", "secondary_capture", "encapsulated_pdf")
    for kind, after in pairwise(chain):
        refuse(db, clock, study, kind)
        step(db, clock)
        assert told(db, study)[kind][1].startswith(f"replaced by {after}")


def test_a_label_map_is_replaced_by_a_binary_segmentation(db: Database, clock: FakeClock) -> None:
    how = used(outputs=("labelmap_seg",))
    study = reported(db, clock, how)
    refuse(db, clock, study, "labelmap_seg")
    step(db, clock, how)
    assert told(db, study)["seg"][0] is ResultState.QUEUED


def test_what_the_destination_is_known_not_to_take_and_what_does_not_fit_or_cannot_be_built_is_skipped(
    db: Database, clock: FakeClock
) -> None:
    study = reported(db, clock)
    refuse(db, clock, study, "seg")
    known = Capability(
        sop_class_uid=SOP_CLASS_OF_OUTPUT["labelmap_seg"], transfer_syntax_uid=ANY_SYNTAX, accepted=False, reason="no"
    )
    capabilities.record(db, clock.now(), "PACS", [known])
    changes = {
        "presentation_state": Fake("presentation_state", reason="no image is referred to"),
        "secondary_capture": Fake("secondary_capture", SCOPE="study", fault="no font"),
    }
    step(db, clock, **changes)
    assert set(told(db, study)) == {"seg", "measurement_sr", "encapsulated_pdf"}


def test_what_is_there_already_takes_the_place_of_a_second_output_too(db: Database, clock: FakeClock) -> None:
    how = used(fallback=("secondary_capture",))
    study = reported(db, clock, how)
    for kind in ("seg", "measurement_sr"):
        refuse(db, clock, study, kind)
    assert step(db, clock, how, measurement_sr=Fake("measurement_sr"))
    assert step(db, clock, how, measurement_sr=Fake("measurement_sr"))
    assert [row.kind for row in outbox.of_study(db, study) if row.state is ResultState.QUEUED] == ["secondary_capture"]
    assert told(db, study)["measurement_sr"][0] is ResultState.SUPERSEDED


def test_what_speaks_of_the_whole_study_waits_for_its_other_models(db: Database, clock: FakeClock) -> None:
    how = used(fallback=("secondary_capture",))
    study = reported(db, clock, how)
    (first,) = {row.outcome_id for row in outbox.of_study(db, study)}
    another = outcome_of(db, first)
    with db.transaction():
        second = outcomes.add(
            db,
            clock.now(),
            study=study,
            revision=1,
            run_number=1,
            model="lung",
            mode=another.mode,
            model_digest="m",
            card_digest="c",
            series_instance_uid="",
            content_digest="",
            series=(),
            state=OutcomeState.PENDING,
        )
    refuse(db, clock, study, "seg")
    assert step(db, clock, how)
    assert told(db, study)["seg"][0] is ResultState.DEAD
    with db.transaction():
        outcomes.move(db, clock.now(), second, OutcomeState.NOT_APPLICABLE, "no lung")
    clock.forward(60)
    assert step(db, clock, how)
    assert told(db, study)["secondary_capture"][0] is ResultState.QUEUED


@pytest.mark.parametrize("change", ["retried", "superseded"])
def test_a_row_that_was_moved_meanwhile_gets_nothing_in_its_place(db: Database, clock: FakeClock, change: str) -> None:
    study = reported(db, clock)
    row = refuse(db, clock, study, "seg")
    dead = outbox.row(db, row.id)
    assert dead is not None
    with db.transaction():
        if change == "retried":
            outbox.move(db, clock.now(), dead, ResultState.QUEUED, "retry asked for")
        else:
            outcomes.move(db, clock.now(), row.outcome_id, OutcomeState.SUPERSEDED)
    assert step(db, clock)
    assert "labelmap_seg" not in told(db, study)
    assert work_items.state(db, WorkKind.FALLBACK, f"{row.id}:{row.attempts}") is WorkState.FINISHED


def test_later_results_use_what_was_learnt_at_once_and_ask_again_when_it_is_old(db: Database, clock: FakeClock) -> None:
    known = Capability(
        sop_class_uid=SOP_CLASS_OF_OUTPUT["seg"], transfer_syntax_uid="1.2.840.10008.1.2.1", accepted=False, reason="no"
    )
    capabilities.record(db, clock.now(), "PACS", [known])
    study = reported(db, clock)
    assert told(db, study)["seg"][0] is ResultState.DEAD
    assert step(db, clock)
    assert told(db, study)["seg"][1].startswith("replaced by labelmap_seg: no (known since 2026-01-02 03:04 UTC)")
    clock.forward(capabilities.KNOWN_FOR_H * 3600 + 1)
    assert capabilities.known_refusal(db, clock.now(), "PACS", known.sop_class_uid) == ""


def test_the_same_refusal_twice_builds_nothing_twice(db: Database, clock: FakeClock) -> None:
    study = reported(db, clock)
    row = refuse(db, clock, study, "seg")
    with db.transaction():
        work_items.add(db, clock.now(), WorkKind.FALLBACK, f"{row.id}:7", study)
    assert step(db, clock)
    assert step(db, clock)
    assert [each.kind for each in artifacts.of_outcome(db, row.outcome_id)].count("labelmap_seg") == 1
    assert [each.kind for each in outbox.of_study(db, study)].count("labelmap_seg") == 1


def test_nothing_takes_the_place_of_a_rejection_note(db: Database, clock: FakeClock) -> None:
    study = reported(db, clock)
    outcome_id = outbox.of_study(db, study)[0].outcome_id
    with db.transaction():
        note = artifacts.record(
            db,
            clock.now(),
            outcome_id=outcome_id,
            kind="rejection_note",
            path="results/note",
            size=1,
            digest="",
            sop_class_uid=SOP_CLASS_OF_OUTPUT["key_objects"],
        )
        outbox.add(db, clock.now(), artifact_id=note, study=study, destination="PACS")
    refuse(db, clock, study, "rejection_note")
    assert not step(db, clock)
    assert told(db, study)["rejection_note"] == (ResultState.DEAD, "it does not take it")


@pytest.mark.parametrize(("source", "models"), [("SCANNER", "brain and lung"), ("OTHER", "brain")])
def test_a_summary_tells_of_no_model_whose_results_may_not_go_where_it_goes(
    source: str, models: str, db: Database, clock: FakeClock
) -> None:
    lung = model(name="lung", segments=())
    given = policy(MODEL, lung).settings
    peers = used(fallback=("secondary_capture",)).settings.peers
    how = Policy(given.model_copy(update={"peers": peers}), (MODEL, lung), ())
    study = reported(db, clock, how)
    header = dcmread(next((db.folder / "spool").rglob("*.dcm")))
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = "2.25.77"
    header.save_as(db.folder / "another.dcm")
    with db.transaction():
        _arrive(db, clock, db.folder / "another.dcm", source)
        outcome_id = outcomes.add(
            db,
            clock.now(),
            study=study,
            revision=1,
            run_number=1,
            model="lung",
            mode=lung.mode,
            model_digest=lung.model_digest,
            card_digest=lung.card_digest,
            series_instance_uid=str(header.SeriesInstanceUID),
            content_digest="",
            series=(),
            state=OutcomeState.RESULT,
            inputs=[each.id for each in instances.of_study(db, study) if each.sop_instance_uid == "2.25.77"],
        )
        findings.record(db, outcome_id, [Finding(code=HAEMORRHAGE, probability=0.9, present=True, operating_point=0.5)])
    refuse(db, clock, study, "seg")
    assert step(db, clock, how)
    [row] = [row for row in outbox.of_study(db, study) if row.kind == "secondary_capture"]
    assert dcmread(db.folder / row.path).ImageComments == models
