"""From a refused context to the output that takes its place, sent: the rooms together, in one process."""

from __future__ import annotations

from collections.abc import Callable

from node.config import Settings
from node.deliver.stored import read_header
from node.domain.output import SOP_CLASS_OF_OUTPUT
from node.domain.study import Order
from node.domain.work import ResultState
from node.loop import work_step
from node.report import replacing
from node.report.outputs import outputs
from node.store import outbox, studies
from node.store.database import Database
from node.workflow.deliveries import deliveries
from node.workflow.policy import Policy
from tests.deliver.conftest import Pacs, serving
from tests.deliver.test_carriage import reached_by
from tests.fakes import FakeClock, policy
from tests.report.synthetic import SCANS
from tests.report.test_worker import MODEL, finished_outcome, outcome_of
from tests.report.test_worker import step as report_step


def settings_of(how: Policy, port: int, db: Database) -> Settings:
    settings = how.settings.model_copy(update={"data": how.settings.data.model_copy(update={"folder": db.folder})})
    return reached_by(settings, port=port)


def test_a_destination_that_refuses_segmentations_gets_what_it_takes_and_the_state_says_so(
    db: Database, clock: FakeClock, pacs: Callable[..., Pacs]
) -> None:
    taken = ("measurement_sr", "secondary_capture")
    archive = pacs(classes=[SOP_CLASS_OF_OUTPUT[kind] for kind in taken])
    outcome_id = finished_outcome(db, clock, SCANS["oblique"])
    study = outcome_of(db, outcome_id).study_instance_uid
    how = policy(MODEL)
    settings = settings_of(how, archive.port, db)
    how = Policy(settings, how.models, ())
    available = outputs()
    report_step(db, clock, how, available)
    built = outbox.of_study(db, study)
    with db.transaction():
        studies.record_identity(db, study, read_header(db.folder / built[0].path).patient, Order(), "MR")
    sender = serving(db, clock, settings)
    replace = work_step(db, clock, replacing.handling(db, clock, how, available, "report:"))
    for _ in range(8):
        sender.step()
        replace()
    (delivery,) = deliveries(outbox.of_study(db, study))
    assert (delivery["destination"], delivery["state"]) == ("PACS", "sent in part"), delivery
    assert "in place of seg" in delivery["reason"]
    sent = {row.kind for row in outbox.of_study(db, study) if row.state is ResultState.SENT}
    assert sent == set(taken)
    assert len(archive.received) == len(taken)
