"""A manager of Unified Procedure Steps, of pynetdicom and the standard's table, that can be told to misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom import Dataset
from pynetdicom import AE, evt

from node.domain.ups import PULL, PUSH, TABLE, WATCH, Action, UpsEvent, UpsState, event_of, judge_setting
from node.domain.ups_attributes import fault_of_creation, fault_of_setting, unmet
from tests.associations import Scp

#: The answer is lost: the association ends instead, after what was asked was done.
LOSE = -1


@dataclass
class Step:
    """One step as the manager has it."""

    state: UpsState
    said: Dataset
    transaction_uid: str = ""


@dataclass
class Manager:
    """What it has, and what it was asked, in order: (service, SOP Instance UID, status)."""

    offers: tuple[str, ...] = (PUSH, PULL, WATCH)
    steps: dict[str, Step] = field(default_factory=dict)
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    #: Statuses in place of its own, by service; used up one by one. `LOSE`: no answer.
    instead: dict[str, list[int]] = field(default_factory=dict)
    #: Called before a request is looked at.
    meanwhile: Callable[[str, str], None] = lambda _service, _uid: None
    port: int = 0
    _scp: Scp | None = None

    def start(self) -> Manager:
        ae = AE("MANAGER")
        for each in self.offers:
            ae.add_supported_context(each)
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_N_CREATE, self._create),
            (evt.EVT_N_SET, self._set),
            (evt.EVT_N_GET, self._get),
            (evt.EVT_N_ACTION, self._act),
            (evt.EVT_C_FIND, self._find),
        ]
        self._scp = Scp(ae, handlers, port=self.port)
        self.port = self._scp.port
        return self

    def stop(self) -> None:
        """Listen no more."""
        if self._scp is not None:
            self._scp.stop()
            self._scp = None

    def standing(self) -> dict[str, Step]:
        """The steps that wait for a performer."""
        return {uid: step for uid, step in self.steps.items() if step.state is UpsState.SCHEDULED}

    def services(self) -> list[str]:
        """What it was asked, in order."""
        return [service for service, _, _ in self.asked]

    def move(self, uid: str, state: UpsState, *, transaction_uid: str = "") -> None:
        """Somebody else moves a step."""
        step = self.steps[uid]
        step.state = state
        step.transaction_uid = transaction_uid or step.transaction_uid
        step.said.ProcedureStepState = state

    def _answer(self, event: evt.Event, service: str, uid: str, do: Callable[[], int]) -> int:
        self.meanwhile(service, uid)
        instead = self.instead.get(service, [])
        told = instead.pop(0) if instead else None
        status = told if told not in (None, LOSE) else do()
        self.asked.append((service, uid, status))
        if told == LOSE:
            event.assoc.abort()
        return status

    def _create(self, event: evt.Event) -> tuple[int, Dataset]:
        uid, said = str(event.request.AffectedSOPInstanceUID), event.attribute_list

        def do() -> int:
            if uid in self.steps:
                return 0x0111
            if fault := fault_of_creation(said.to_json_dict()):
                return int(fault[0])
            self.steps[uid] = Step(UpsState.SCHEDULED, said)
            return 0x0000

        return self._answer(event, "N-CREATE", uid, do), Dataset()

    def _set(self, event: evt.Event) -> tuple[int, Dataset]:
        uid, changes = str(event.request.RequestedSOPInstanceUID), event.modification_list

        def do() -> int:
            step = self.steps.get(uid)
            if step is None:
                return 0xC307
            told = str(changes.get("TransactionUID", ""))
            if status := judge_setting(step.state, held=step.transaction_uid, told=told):
                return int(status)
            kept = {tag: value for tag, value in changes.to_json_dict().items() if tag not in ("00081195", "00080005")}
            if fault := fault_of_setting(kept):
                return int(fault[0])
            step.said.update(Dataset.from_json(kept))
            return 0x0000

        return self._answer(event, "N-SET", uid, do), Dataset()

    def _get(self, event: evt.Event) -> tuple[int, Dataset]:
        uid, found = str(event.request.RequestedSOPInstanceUID), Dataset()

        def do() -> int:
            step = self.steps.get(uid)
            if step is None:
                return 0xC307
            for tag in event.attribute_identifiers or [each.tag for each in step.said]:
                if tag in step.said:
                    found[tag] = step.said[tag]
            return 0x0000

        return self._answer(event, "N-GET", uid, do), found

    def _act(self, event: evt.Event) -> tuple[int, Dataset]:
        uid, said = str(event.request.RequestedSOPInstanceUID), event.action_information
        action = Action(event.action_type)

        def do() -> int:
            step = self.steps.get(uid)
            if action is Action.SUBSCRIBE:
                return 0x0000 if step is not None and said.ReceivingAE and said.DeletionLock == "FALSE" else 0xC308
            if action is Action.REQUEST_CANCEL:
                cell = TABLE[UpsEvent.REQUEST_CANCEL, step.state if step else None]
            else:
                held, told = step.transaction_uid if step else "", str(said.get("TransactionUID", ""))
                asked = UpsState(said.ProcedureStepState)
                cell = TABLE[event_of(asked, step.state if step else None, held=held, told=told),
                             step.state if step else None]  # fmt: skip
                if step is not None and cell.if_final_met and unmet(step.said.to_json_dict(), asked):
                    return 0xC304
                if step is not None and cell.after is UpsState.IN_PROGRESS:
                    step.transaction_uid = told
            if step is not None and cell.after is not None:
                self.move(uid, cell.after)
            return int(cell.status)

        services = {Action.REQUEST_CANCEL: "cancel?", Action.SUBSCRIBE: "subscribe"}
        service = services.get(action) or str(said.ProcedureStepState)
        return self._answer(event, service, uid, do), Dataset()

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        keys = event.identifier
        found: list[Dataset] = []

        def do() -> int:
            for uid, step in self.steps.items():
                told = Dataset()
                told.update(step.said)
                told.SOPClassUID, told.SOPInstanceUID = PUSH, uid
                told.ProcedureStepState = step.state
                if keys.get("ProcedureStepState", "") in ("", step.state):
                    found.append(told)
            return 0x0000

        status = self._answer(event, "C-FIND", "", do)
        for each in found:
            yield 0xFF00, each
        if status:
            yield status, None


@contextmanager
def manager(**settings: object) -> Iterator[Manager]:
    """A manager that listens."""
    made = Manager(**settings).start()  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.stop()
