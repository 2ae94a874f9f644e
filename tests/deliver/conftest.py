"""Destinations on the loopback address that answer as a test tells them, and results that wait for them."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from node.config import Settings
from node.deliver.destination import Destination
from node.deliver.lifeline import Pulse
from node.deliver.oversight import Oversight
from node.domain.model_card import Mode
from node.domain.patient import Patient
from node.domain.study import Order
from node.domain.time import Clock, Instant
from node.domain.work import OutcomeState
from node.loop import Stop
from node.store import artifacts, outbox, outcomes, studies
from node.store.database import Database, open_database
from node.store.outbox import OutboxRow
from tests.associations import Scp
from tests.fakes import PATIENT, SR, STUDY, FakeClock, arrive, slice_of

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
EXPLICIT = str(ExplicitVRLittleEndian)
IMPLICIT = str(ImplicitVRLittleEndian)
UID_ROOT = "2.25.77"
#: A descriptor whose other end nobody reads.
NOWHERE = os.open(os.devnull, os.O_WRONLY)

#: What a destination does with one object: a status, or something of its own that returns one.
#: `HANG` is no answer for the rest of the test.
HANG = -1
Reply = int | Callable[[evt.Event], int | Dataset]


@dataclass
class Pacs:
    """A storage SCP. Replies are used up one by one; the last one stays."""

    replies: Sequence[Reply] = (0x0000,)
    classes: Sequence[str] = (SR, SEG)
    syntaxes: Sequence[str] = (EXPLICIT,)
    title: str = "PACS"
    #: The only AE title it knows; empty for any.
    knows: str = ""
    maximum_associations: int = 10
    maximum_pdu: int = 16382
    port: int = 0
    #: (SOP Instance UID, data set as received), in the order received.
    received: list[tuple[str, bytes]] = field(default_factory=list)
    #: Presentation contexts of each association: (SOP Class, transfer syntaxes).
    requested: list[list[tuple[str, list[str]]]] = field(default_factory=list)
    #: Set when a test is over: ends every reply that hangs.
    over: threading.Event = field(default_factory=threading.Event)
    on_message: Callable[[evt.Event], None] = lambda _event: None
    _scp: Scp | None = None

    def start(self) -> Pacs:
        ae = AE(ae_title=self.title)
        ae.require_called_aet = True
        ae.require_calling_aet = [self.knows] if self.knows else []
        ae.maximum_associations = self.maximum_associations
        ae.maximum_pdu_size = self.maximum_pdu
        for each in self.classes:
            ae.add_supported_context(each, list(self.syntaxes))
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_REQUESTED, self._asked),
            (evt.EVT_DIMSE_RECV, self._heard),
        ]
        self._scp = Scp(ae, handlers, port=self.port)
        self.port = self._scp.port
        return self

    def stop(self) -> None:
        """End what hangs, and listen no more."""
        self.over.set()
        assert self._scp is not None
        self._scp.stop()

    @property
    def is_busy(self) -> bool:
        """Whether an association is open."""
        assert self._scp is not None
        return self._scp.is_busy

    def _heard(self, event: evt.Event) -> None:
        self.on_message(event)

    def _asked(self, event: evt.Event) -> None:
        contexts = event.assoc.requestor.primitive.presentation_context_definition_list
        self.requested.append([(str(c.abstract_syntax), [str(ts) for ts in c.transfer_syntax]) for c in contexts])

    def _store(self, event: evt.Event) -> int | Dataset:
        self.received.append((str(event.request.AffectedSOPInstanceUID), event.request.DataSet.getvalue()))
        reply = self.replies[min(len(self.received), len(self.replies)) - 1]
        if reply == HANG:
            self.over.wait()
        return reply if isinstance(reply, int) else reply(event)


@pytest.fixture
def pacs() -> Iterator[Callable[..., Pacs]]:
    """Start destinations; all end with the test."""
    started: list[Pacs] = []

    def start(*replies: Reply, **settings: object) -> Pacs:
        made = Pacs(replies or (0x0000,), **settings).start()  # type: ignore[arg-type]
        started.append(made)
        return made

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port that is taken, but where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "var", "test")
    yield database
    database.close()


def settings_for(db: Database, ports: dict[str, int], mode: Mode = Mode.LIVE, **deliver: float) -> Settings:
    """A node whose scanner's results go to these destinations; short waits."""
    patience = {"connect_s": 5.0, "dimse_s": 20.0, "backoff_s": 4.0, "backoff_maximum_s": 64.0} | deliver
    scanner = {"name": "SCANNER", "ae_title": "SCANNER", "addresses": ["127.0.0.1/32"], "roles": ["source"]}
    peers = [{**scanner, "results_to": list(ports)}]
    peers += [
        {"name": name, "ae_title": name, "host": "127.0.0.1", "port": port, "roles": ["destination"]}
        for name, port in ports.items()
    ]
    return Settings.model_validate(
        {"data": {"folder": db.folder}, "deliver": patience, "peers": peers, "models": {"brain": {"mode": mode}}}
    )


def write_object(folder: Path, number: int, patient: Patient, sop_class: str, size: int) -> Path:
    """A Part 10 file as our report room leaves it."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = sop_class, f"{UID_ROOT}.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = STUDY, f"{STUDY}.900"
    made.PatientName, made.PatientID, made.IssuerOfPatientID = patient.name, patient.patient_id, patient.issuer
    made.PatientBirthDate, made.PatientSex = patient.birth_date, patient.sex
    made.add_new(0x00091001, "OB", bytes(size + size % 2))
    made.file_meta = Dataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / "results" / f"{number}.dcm"
    path.parent.mkdir(exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def dataset_bytes(path: Path) -> bytes:
    """What follows the file meta group."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def queue_results(
    db: Database,
    now: Instant,
    numbers: Sequence[int] = (1,),
    *,
    to: Sequence[str] = ("PACS",),
    study: str = STUDY,
    patient: Patient = PATIENT,
    sop_class: str = SR,
    size: int = 100,
) -> list[OutboxRow]:
    """Results of one outcome of a live model on a scanner's study, waiting for their destinations."""
    arrive(db, now, slice_of(1, study=study, series=f"{study}.1"))
    input_id = db.rows("SELECT max(id) AS id FROM instance")[0]["id"]
    with db.transaction():
        studies.record_identity(db, study, PATIENT, Order(), "MR")
        outcome_id = outcomes.add(
            db,
            now,
            study=study,
            revision=1,
            run_number=1,
            model="brain",
            mode=Mode.LIVE,
            model_digest="m",
            card_digest="c",
            series_instance_uid=f"{study}.1",
            content_digest="d",
            series=(),
            state=OutcomeState.RESULT,
            inputs=[input_id],
        )
        for number in numbers:
            path = write_object(db.folder, number, patient, sop_class, size)
            artifact_id = artifacts.record(
                db,
                now,
                outcome_id=outcome_id,
                kind=f"kind{number}",
                path=str(path.relative_to(db.folder)),
                size=path.stat().st_size,
                digest=hashlib.sha256(path.read_bytes()).hexdigest(),
                sop_instance_uid=f"{UID_ROOT}.{number}",
                sop_class_uid=sop_class,
            )
            for name in to:
                outbox.add(db, now, artifact_id=artifact_id, study=study, destination=name)
    return outbox.of_study(db, study)


def serving(
    db: Database,
    clock: Clock,
    settings: Settings,
    name: str = "PACS",
    *,
    stop: Stop | None = None,
    oversight: Oversight | None = None,
) -> Destination:
    """The queue of one destination, in the test's own process."""
    peer = settings.peer_named(name)
    assert peer is not None
    return Destination(
        db,
        clock,
        settings,
        peer,
        owner="deliver:1:",
        stop=stop or Stop(),
        pulse=Pulse(NOWHERE),
        limit_memory=lambda _largest: None,
        oversight=oversight,
    )
