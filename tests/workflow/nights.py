"""Studies that came, were looked at by a model, ranked, and reported by a radiologist."""

from __future__ import annotations

from dataclasses import dataclass

from node.catalogue import Model
from node.domain.finding import Finding
from node.domain.model_card import Mode
from node.domain.report_state import ReportState
from node.domain.study import Order
from node.domain.work import OutcomeState
from node.store import findings, outcomes
from node.store.database import Database
from node.workflow import ranking, reported
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from tests.fakes import BRAIN, FakeClock, arrive, model, policy, slice_of
from tests.workflow.test_closing import QUIET_S

LIVE: Model = model()


@dataclass
class Night:
    """A node whose clock a test turns."""

    db: Database
    clock: FakeClock
    policy: Policy
    count: int = 0

    def study(self, *, requested_priority: str = "", found: bool | None = False, modality: str = "MR") -> str:
        """Let a study come, be closed and be looked at; `found=None`: the model fails."""
        self.count += 1
        uid = f"1.2.3.{self.count}"
        day = f"{self.clock.wall:%Y%m%d}"
        order = Order(study_date=day, requested_priority=requested_priority)
        for number in range(3):
            made = slice_of(number, study=uid, series=f"{uid}.1", order=order, modality=modality)
            arrive(self.db, self.clock.now(), made)
        close_due(self.db, self.clock.forward(QUIET_S), self.policy)
        for each in outcomes.current(self.db, uid):
            if each.state is not OutcomeState.PENDING:
                continue
            self.clock.forward(60)
            with self.db.transaction():
                outcomes.move(self.db, self.clock.now(), each.id, OutcomeState.RUNNING)
                if found is None:
                    outcomes.move(self.db, self.clock.now(), each.id, OutcomeState.FAILED, "no luck")
                else:
                    findings.record(self.db, each.id, [Finding(code=BRAIN, present=found)])
                    outcomes.move(self.db, self.clock.now(), each.id, OutcomeState.RESULT)
                ranking.rerank(self.db, self.clock.now(), self.policy, uid)
        return uid

    def report(self, uid: str, *, reading_min: float | None = None) -> None:
        """Tell that a study is reported, perhaps after having been told that it was being read."""
        if reading_min is not None:
            with self.db.transaction():
                reported.record(self.db, self.clock.now(), self.policy, uid, ReportState.BEING_READ, told_by="ups")
            self.clock.forward(reading_min * 60)
        with self.db.transaction():
            reported.record(self.db, self.clock.now(), self.policy, uid, ReportState.FINAL, told_by="hl7 RIS")


def night(db: Database, clock: FakeClock, mode: Mode = Mode.LIVE) -> Night:
    """A node with one model."""
    return Night(db=db, clock=clock, policy=policy(model(mode)))
