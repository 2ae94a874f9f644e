"""An archive on the loopback address that is asked to keep objects, whether it has them, and whose a study is."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from node.domain.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from tests.associations import Scp
from tests.fakes import SR

FIND = str(StudyRootQueryRetrieveInformationModelFind)
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
EXPLICIT = str(ExplicitVRLittleEndian)


@dataclass
class Archive:
    """Keeps what it is sent, and says so as it is told to."""

    services: Sequence[str] = (SR, SEG, PUSH_MODEL, FIND)
    title: str = "PACS"
    #: Answers to N-ACTION, one after the other; the last one stays.
    statuses: Sequence[int] = (0x0000,)
    #: Whether it reports on the association of the request, and how often.
    reports: int = 1
    #: SOP Instance UID → Failure Reason of what it does not keep, beside what it never got.
    failing: Mapping[str, int] = field(default_factory=dict)
    #: Put into its reports, each as a data set with a Transaction UID of its own choice.
    more: Sequence[Dataset] = ()
    #: SOP Instance UIDs that it has.
    held: set[str] = field(default_factory=set)
    #: Study Instance UID → what it answers at STUDY level.
    studies: dict[str, list[Dataset]] = field(default_factory=dict)
    #: Status of every C-FIND in place of answers.
    find_status: int = 0x0000
    #: Answers that were not asked for, at IMAGE level.
    strangers: Sequence[Dataset] = ()
    port: int = 0
    #: Requests for commitment as they came.
    asked: list[Dataset] = field(default_factory=list)
    #: Identifiers of queries as they came.
    queries: list[Dataset] = field(default_factory=list)
    #: SOP Instance UIDs, in the order received, and the data sets.
    received: list[str] = field(default_factory=list)
    datasets: list[Dataset] = field(default_factory=list)
    #: Statuses with which its reports were answered.
    answers: list[int] = field(default_factory=list)
    #: Calling AE titles of associations.
    associations: int = 0
    _scp: Scp | None = None
    _threads: list[threading.Thread] = field(default_factory=list)
    _sent: threading.Event = field(default_factory=threading.Event)
    _answered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def start(self) -> Archive:
        ae = AE(ae_title=self.title)
        for service in self.services:
            ae.add_supported_context(service, [EXPLICIT, "1.2.840.10008.1.2"])
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._commit),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_ESTABLISHED, self._came),
            (evt.EVT_DIMSE_SENT, self._said),
            (evt.EVT_DIMSE_RECV, self._heard),
        ]
        self._scp = Scp(ae, handlers, port=self.port)
        self.port = self._scp.port
        return self

    def stop(self) -> None:
        self._sent.set()
        for thread in self._threads:
            # Whoever has gone answers no report.
            self._answered.release(10)
            thread.join(20)
        assert self._scp is not None
        self._scp.stop()

    def _came(self, _event: evt.Event) -> None:
        self.associations += 1

    def _store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.received.append(uid)
        self.datasets.append(event.dataset)
        self.held.add(uid)
        return 0x0000

    def _commit(self, event: evt.Event) -> tuple[int, None]:
        self.asked.append(event.action_information)
        status = self.statuses[min(len(self.asked), len(self.statuses)) - 1]
        if not status and self.reports:
            self._sent.clear()
            thread = threading.Thread(target=self._report, args=(event, event.action_information))
            self._threads.append(thread)
            thread.start()
        return status, None

    def _said(self, event: evt.Event) -> None:
        if event.message.command_set.get("CommandField") == 0x8130:
            self._sent.set()

    def _heard(self, event: evt.Event) -> None:
        if event.message.command_set.get("CommandField") == 0x8100:
            self.answers.append(int(event.message.command_set.Status))
            self._answered.release()

    def _report(self, event: evt.Event, request: Dataset) -> None:
        self._sent.wait(20)
        for report in [*self.more, *[self.report_on(request)] * self.reports]:
            primitive = N_EVENT_REPORT()
            primitive.MessageID = 7
            primitive.AffectedSOPClassUID = UID(PUSH_MODEL)
            primitive.AffectedSOPInstanceUID = UID(PUSH_MODEL_INSTANCE)
            primitive.EventTypeID = 2 if "FailedSOPSequence" in report else 1
            syntax = UID(event.context.transfer_syntax)
            encoded = encode(report, syntax.is_implicit_VR, syntax.is_little_endian)
            primitive.EventInformation = BytesIO(encoded or b"")
            event.assoc.dimse.send_msg(primitive, event.context.context_id)
            self._answered.acquire(timeout=20)

    def report_on(self, request: Dataset) -> Dataset:
        """What it says to a request."""
        report = Dataset()
        report.TransactionUID = request.TransactionUID
        failed = []
        report.ReferencedSOPSequence = []
        for each in request.ReferencedSOPSequence:
            uid = str(each.ReferencedSOPInstanceUID)
            reason = self.failing.get(uid, 0 if uid in self.held else 0x0112)
            item = Dataset()
            item.ReferencedSOPClassUID = each.ReferencedSOPClassUID
            item.ReferencedSOPInstanceUID = uid
            if reason:
                item.FailureReason = reason
                failed.append(item)
            else:
                report.ReferencedSOPSequence.append(item)
        if failed:
            report.FailedSOPSequence = failed
        return report

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        identifier = event.identifier
        self.queries.append(identifier)
        if self.find_status:
            yield self.find_status, None
            return
        if identifier.QueryRetrieveLevel == "STUDY":
            found = self.studies.get(str(identifier.StudyInstanceUID), [])
        else:
            found = [identifier] if str(identifier.SOPInstanceUID) in self.held else []
            found = [*self.strangers, *found]
        for each in found:
            yield 0xFF00, each
        yield 0x0000, None
