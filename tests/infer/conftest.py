from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from node.catalogue import Model
from node.config import Settings
from node.domain.model_card import Mode
from node.domain.priority import Lane
from node.domain.study import Instance
from node.domain.work import OutcomeState, WorkKind
from node.infer.admission import Residence
from node.infer.ledger import Ledger
from node.infer.messages import LAST_REPLIES, Job, OrderKind, Reply
from node.infer.model_child import COMMAND, ModelChild
from node.infer.room import InferRoom
from node.receive.fields import instance_of
from node.store import instances, outcomes, work_items
from node.store.database import Database, open_database
from node.workflow.policy import Policy, load_policy
from tests.fakes import FakeClock, arrive
from tests.journeys.tiny_model import tiny_head, tiny_model_folder

FAKE_CHILD = Path(__file__).with_name("fake_child.py")


def fake(*arguments: object) -> list[str]:
    """The command of a process that behaves as `arguments` say."""
    return [sys.executable, "-S", str(FAKE_CHILD), *map(str, arguments)]


def run_dry(room: InferRoom) -> bool:
    """Let the room work until nothing is under way; whether there was anything."""
    worked = False
    while room.step():
        worked = True
    return worked


def begun(room: InferRoom) -> None:
    """Let the room work until a network has begun with a study."""
    while room._stack.top is None or not room._stack.top.started:
        room.step()


def ask(child: ModelChild, job: Job) -> Reply:
    """Have a process read one study; return its last reply."""
    child.wait_until_ready(lambda: None)
    child.order(OrderKind.PREPARE, job)
    child.order(OrderKind.GO, job_id=job.id)
    while True:
        for reply in child.heard():
            if reply.kind in LAST_REPLIES:
                return reply
        select.select([child.readable], [], [], 0.1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tiny_model_folder(tmp_path / "models")
    return Settings.model_validate(
        {
            "data": {"folder": tmp_path / "var"},
            "catalogue": {"models_folder": folder},
            "models": {"tiny": {"mode": Mode.LIVE}},
            "infer": {"device": "cpu", "threads": 1},
        }
    )


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    database = open_database(settings.data.folder, "infer")
    yield database
    database.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@dataclass
class Site:
    """A data folder with studies that wait for the tiny model, and a room that reads them."""

    db: Database
    clock: FakeClock
    settings: Settings
    policy: Policy
    rooms: list[InferRoom]

    @property
    def model(self) -> Model:
        model = self.policy.model("tiny")
        assert model is not None
        return model

    def other_model(self) -> None:
        """Let there be a second model, named "other"."""
        other = replace(self.model, model_digest="other", card=replace(self.model.card, name="other"))
        self.policy = Policy(self.policy.settings, (*self.policy.models, other), self.policy.rules)

    def waits(
        self,
        study: str,
        *,
        model: str = "tiny",
        lane: Lane = Lane.ROUTINE,
        change: Callable[[Instance], Instance] = lambda instance: instance,
        **head: Any,
    ) -> int:
        """Let a study arrive in a lane and be given to a model; return the outcome's id."""
        reader = self.policy.model(model)
        assert reader is not None
        files = tiny_head(self.db.folder / "incoming" / study, study, **head)
        described = []
        for file in files:
            instance = change(instance_of(dcmread(file, stop_before_pixels=True), issuer="", has_pixels=True))
            arrive(self.db, self.clock.now(), instance)
            described.append(instance)
        held = instances.of_study(self.db, study)
        for file, each in zip(files, sorted(held, key=lambda held: held.id), strict=True):
            place = self.db.folder / each.path
            place.parent.mkdir(parents=True, exist_ok=True)
            file.rename(place)
        with self.db.transaction():
            self.db.execute(
                "UPDATE study SET lane = ?, lane_order = ? WHERE study_instance_uid = ?", (lane, lane.order, study)
            )
            outcome_id = outcomes.add(
                self.db,
                self.clock.now(),
                study=study,
                revision=1,
                run_number=1,
                model=model,
                mode=Mode.LIVE,
                model_digest=reader.model_digest,
                card_digest=reader.card_digest,
                series_instance_uid=described[0].series_instance_uid,
                content_digest=f"content-{study}",
                series=[],
                state=OutcomeState.PENDING,
                inputs=[each.id for each in held],
            )
            work_items.add(self.db, self.clock.now(), WorkKind.INFER, outcome_id, study)
        return outcome_id

    def room(self, command: Sequence[str] = COMMAND, *, time_limit_s: float | None = None) -> InferRoom:
        """A room whose model processes are started by `command`."""
        policy = self.policy
        if time_limit_s is not None:
            limited = tuple(
                replace(model, card=replace(model.card, time_limit_s=time_limit_s)) for model in policy.models
            )
            policy = Policy(policy.settings, limited, policy.rules)
        ledger = Ledger(self.db, self.clock, policy, "infer:test")
        room = InferRoom(self.db, ledger, Residence(self.settings.infer, command))
        self.rooms.append(room)
        return room

    def step(self, room: InferRoom) -> bool:
        """Let the room do all that there is to do at one moment of the clock; whether there was anything."""
        self.clock.forward(10)
        return run_dry(room)

    def outcome(self, outcome_id: int) -> outcomes.Outcome:
        found = outcomes.outcome(self.db, outcome_id)
        assert found is not None
        return found

    def item_state(self, outcome_id: int, kind: WorkKind = WorkKind.INFER) -> str:
        row = self.db.row("SELECT state FROM work_item WHERE kind = ? AND subject = ?", (kind, str(outcome_id)))
        return str(row["state"]) if row else "none"


@pytest.fixture
def site(db: Database, clock: FakeClock, settings: Settings) -> Iterator[Site]:
    made = Site(db, clock, settings, load_policy(settings), [])
    yield made
    for room in made.rooms:
        room.end()
