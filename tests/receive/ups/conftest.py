"""The DICOM port with performers and requesters that call it, through real associations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association

from node.config import Settings
from node.domain.time import SystemClock
from node.domain.ups import PULL, PUSH, QUERY, WATCH
from node.receive.intakes import cstore
from node.receive.keeper import Keeper
from node.store.database import Database
from node.store.spool import Spool
from tests.associations import associated
from tests.receive.objects import free_port

ADDRESS = ["127.0.0.1/32"]
READER, SECOND, ASKER, SCANNER, ABROAD = "READER", "SECOND", "ASKER", "SCANNER", "ABROAD"
RADIOLOGY = "RADIOLOGY"
LOCK, OTHER_LOCK = "1.2.3.77.1", "1.2.3.77.2"


def settings_of(folder: Path) -> Settings:
    reached = {"addresses": ADDRESS, "host": "127.0.0.1", "port": 104}
    peers = [
        {"name": READER, "ae_title": "READER1", "roles": ["performer"], **reached},
        {"name": SECOND, "ae_title": "SECOND1", "roles": ["performer"], "addresses": ADDRESS},
        {"name": RADIOLOGY, "ae_title": "RADIOLOGY1", "roles": ["reader"], **reached},
        {"name": ASKER, "ae_title": "ASKER1", "roles": ["requester"], **reached},
        {"name": ABROAD, "ae_title": "ABROAD1", "roles": ["performer", "requester"], "issuer": "B", **reached},
        {"name": SCANNER, "ae_title": "SCANNER1", "roles": ["source"], "addresses": ADDRESS, "flags_to": [RADIOLOGY]},
        {"name": "ELSEWHERE", "ae_title": "ELSEWHERE1", "roles": ["source"], "addresses": ADDRESS},
    ]
    return Settings.model_validate(
        {
            "node": {"port": free_port()},
            "data": {"folder": folder, "minimum_free_percent": 0.0},
            "receive": {"artim_s": 5.0, "idle_s": 20.0},
            "catalogue": {"models_folder": folder / "models", "rules_folder": folder / "rules"},
            "peers": peers,
        }
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("var", "var/models", "var/rules"):
        (tmp_path / name).mkdir()
    return settings_of(tmp_path / "var")


@pytest.fixture
def port(settings: Settings, db: Database) -> Iterator[int]:
    keeper = Keeper(db, Spool(db.folder), SystemClock())
    running = cstore.start(settings, keeper)
    yield running.port
    running.stop(0.0)
    keeper.close()


class Scu:
    """One association of one peer, with every UPS SOP class; requests name UPS Push, as they have to."""

    def __init__(self, association: Association, answers: list[Dataset]) -> None:
        self.association = association
        #: Command sets of the answers, which pynetdicom tells in part.
        self.answers = answers

    def create(self, dataset: Dataset, uid: str | None = "1.2.3.9.1") -> tuple[int, str]:
        answer, _ = self.association.send_n_create(dataset, PUSH, uid)
        return int(answer.Status), str(self.answers[-1].get("AffectedSOPInstanceUID", ""))

    def act(self, kind: int, uid: str, over: str, **said: Any) -> int:
        answer, _ = self.association.send_n_action(made(**said) if said else None, kind, PUSH, uid, meta_uid=over)
        return int(answer.Status)

    def claim(self, uid: str = "1.2.3.9.1", lock: str = LOCK) -> int:
        return self.change(uid, "IN PROGRESS", lock)

    def change(self, uid: str, state: str, lock: str = LOCK) -> int:
        said = {"ProcedureStepState": state, **({"TransactionUID": lock} if lock else {})}
        return self.act(1, uid, PULL, **said)

    def set(self, uid: str = "1.2.3.9.1", **said: Any) -> int:
        answer, _ = self.association.send_n_set(made(**said), PUSH, uid, meta_uid=PULL)
        return int(answer.Status)

    def get(self, uid: str = "1.2.3.9.1", *tags: int, over: str = PULL) -> tuple[int, Dataset | None]:
        answer, dataset = self.association.send_n_get(list(tags), PUSH, uid, meta_uid=over)
        return int(answer.Status), dataset

    def find(self, over: str = PULL, **keys: Any) -> list[Dataset]:
        *matches, (last, _) = self.association.send_c_find(made(**keys), over)
        assert last.Status == 0x0000, f"0x{last.Status:04X}"
        assert all(answer.Status == 0xFF00 for answer, _ in matches)
        return [dataset for _, dataset in matches if dataset is not None]

    def refused_find(self, over: str = PULL, **keys: Any) -> int:
        [(last, _)] = self.association.send_c_find(made(**keys), over)
        return int(last.Status)


def made(**said: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in said.items():
        setattr(dataset, keyword, value)
    return dataset


Calling = Callable[..., Scu]


@pytest.fixture
def calling(port: int) -> Iterator[Calling]:
    """Open associations; all end with the test."""
    with ExitStack() as stack:

        def call(peer: str, classes: tuple[str, ...] = (PUSH, PULL, WATCH, QUERY)) -> Scu:
            ae = AE(f"{peer}1")
            for uid in classes:
                ae.add_requested_context(uid)
            ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
            answers: list[Dataset] = []
            handlers = [(evt.EVT_DIMSE_RECV, lambda event: answers.append(event.message.command_set))]
            association = stack.enter_context(associated(ae, port, ae_title="MATINS", evt_handlers=handlers))
            assert association.is_established
            return Scu(association, answers)

        yield call


def code(value: str = "110005", scheme: str = "DCM", meaning: str = "Interpretation") -> Dataset:
    return made(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def creation(**changes: Any) -> Dataset:
    """The attributes of an N-CREATE."""
    said: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "PatientName": "Müller^Jörg",
        "PatientID": "P7",
        "PatientBirthDate": "19700101",
        "PatientSex": "M",
        "ProcedureStepState": "SCHEDULED",
        "InputReadinessState": "READY",
        "ScheduledProcedureStepPriority": "MEDIUM",
        "ScheduledProcedureStepStartDateTime": "20260102030405",
        "ProcedureStepLabel": "Read it",
        "WorklistLabel": "CHEST",
        "TransactionUID": "",
        "ScheduledWorkitemCodeSequence": [code()],
        "InputInformationSequence": [],
    }
    return made(**{key: value for key, value in (said | changes).items() if value is not None})


def done() -> list[Dataset]:
    """The UPS Performed Procedure Sequence of a completed step."""
    return [
        made(
            PerformedStationNameCodeSequence=[code("ST1", "99X", "Station")],
            PerformedProcedureStepStartDateTime="20260102030405",
            PerformedWorkitemCodeSequence=[code()],
            PerformedProcedureStepEndDateTime="20260102040405",
            OutputInformationSequence=[],
        )
    ]
