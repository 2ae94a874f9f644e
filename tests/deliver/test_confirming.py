"""What was sent is confirmed by its destination: committed, found there, sent again, or left with the reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE

from node.config import Settings
from node.deliver.confirming import Confirming
from node.deliver.dialogue import Dialogue
from node.deliver.lifeline import Pulse
from node.domain.commitment import PUSH_MODEL
from node.domain.work import ResultState
from node.loop import Stop
from node.store import commitments, outbox
from node.store.commitments import CommitmentState, Way
from node.store.database import Database
from node.workflow.commitment import QUIET_S
from tests.deliver.archive import FIND, SEG, SR, Archive
from tests.deliver.conftest import queue_results, settings_for
from tests.fakes import STUDY, FakeClock

Start = Callable[..., Archive]


@pytest.fixture
def archive() -> Iterator[Start]:
    """Start archives; all end with the test."""
    started: list[Archive] = []

    def start(**settings: object) -> Archive:
        started.append(Archive(**settings).start())  # type: ignore[arg-type]
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def nowhere() -> Iterator[int]:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


class Sent:
    """Results that PACS answered success to, and who has them confirmed."""

    def __init__(self, db: Database, clock: FakeClock, port: int, descriptor: int, confirm: str, number: int) -> None:
        self.db, self.clock = db, clock
        settings = settings_for(db, {"PACS": port})
        peers = tuple(
            peer.model_copy(update={"confirm": confirm} if peer.name == "PACS" else {}) for peer in settings.peers
        )
        self.settings: Settings = settings.model_copy(update={"peers": peers})
        peer = self.settings.peer_named("PACS")
        assert peer is not None
        self.rows = queue_results(db, clock.now(), tuple(range(1, number + 1)))
        self.uids = [row.sop_instance_uid for row in self.rows]
        self.confirming = Confirming(db, clock, self.settings, peer, stop=Stop(), pulse=Pulse(descriptor))
        self.send()

    def send(self) -> None:
        """What is queued reaches PACS."""
        with self.db.transaction():
            for row in outbox.of_study(self.db, STUDY):
                if row.state is ResultState.QUEUED:
                    outbox.move(self.db, self.clock.now(), row, ResultState.SENT, "")
        self.clock.forward(QUIET_S)

    def states(self) -> list[str]:
        return [row.state.value for row in outbox.of_study(self.db, STUDY)]

    def reasons(self) -> set[str]:
        return {row.reason for row in outbox.of_study(self.db, STUDY)}

    def steps_within(self, seconds: float, every_s: float = 5.0) -> int:
        """Let time pass, and say how often something was asked."""
        steps = 0
        for _ in range(int(seconds / every_s)):
            steps += self.confirming.step()
            self.clock.forward(every_s)
        return steps


@pytest.fixture
def sent(db: Database, clock: FakeClock, nowhere: int) -> Callable[..., Sent]:
    def make(archive: Archive | int, confirm: str = "auto", number: int = 3) -> Sent:
        port = archive if isinstance(archive, int) else archive.port
        made = Sent(db, clock, port, nowhere, confirm, number)
        if isinstance(archive, Archive):
            archive.held |= set(made.uids)
        return made

    return make


def test_results_are_committed_by_a_report_on_the_same_association(archive: Start, sent: Callable[..., Sent]) -> None:
    pacs = archive()
    results = sent(pacs)
    assert results.confirming.step()
    assert results.states() == ["committed"] * 3
    assert results.reasons() == {"committed by PACS"}
    [request] = pacs.asked
    asked = [(item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in request.ReferencedSOPSequence]
    assert asked == [(SR, uid) for uid in results.uids]
    assert (pacs.answers, pacs.associations) == ([0x0000], 1)
    assert not results.confirming.step()


def test_nothing_is_asked_before_it_was_quiet_for_a_while(archive: Start, sent: Callable[..., Sent]) -> None:
    results = sent(archive())
    results.clock.boottime_s -= 1
    assert not results.confirming.step()
    results.clock.forward(1)
    assert results.confirming.step()


@pytest.mark.parametrize(
    ("reason", "state", "words"),
    [
        (0x0112, "queued", "no such object instance; it is sent again"),
        (0x0213, "sent", "resource limitation; it is asked again"),
        (0x0110, "sent", "processing failure; it is asked again"),
        (0x0119, "sent", "class / instance conflict"),
        (0x0122, "sent", "referenced SOP Class not supported"),
    ],
)
def test_a_mixed_report_is_split(
    archive: Start, sent: Callable[..., Sent], reason: int, state: str, words: str
) -> None:
    pacs = archive()
    results = sent(pacs)
    pacs.failing = {results.uids[1]: reason}
    assert results.confirming.step()
    assert results.states() == ["committed", state, "committed"]
    assert words in outbox.of_study(results.db, STUDY)[1].reason
    pacs.failing = {}
    results.send()
    # What may pass is asked again by itself; what would stay the same for ever is not.
    results.steps_within(300)
    assert results.states()[1] == ("sent" if reason in (0x0119, 0x0122) else "committed")
    assert len({str(each.TransactionUID) for each in pacs.asked}) == len(pacs.asked)


def test_the_same_report_twice_and_a_strangers_transaction_change_nothing(
    archive: Start, sent: Callable[..., Sent]
) -> None:
    strange = Dataset()
    strange.TransactionUID = "2.25.1"
    strange.ReferencedSOPSequence = []
    pacs = archive(reports=2, more=[strange])
    results = sent(pacs)
    results.confirming.step()
    # The association is given up once the report is in; the second one may not get its answer any more.
    assert pacs.answers[:2] == [0x0110, 0x0000]
    assert results.states() == ["committed"] * 3


def test_without_a_report_it_is_asked_again_under_a_new_transaction(
    archive: Start, sent: Callable[..., Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.deliver.confirming.LINGER_S", 0.0)
    monkeypatch.setattr("node.deliver.commitment.LINGER_S", 0.0)
    pacs = archive(reports=0)
    results = sent(pacs, "ask")
    assert results.steps_within(86_000, 600) == 1
    assert results.steps_within(2_000, 600) == 1
    first, second = (str(each.TransactionUID) for each in pacs.asked)
    assert first != second
    for uid in (first, second):
        asked = commitments.commitment(results.db, uid)
        assert asked is not None
        assert asked.state is CommitmentState.ACCEPTED


def test_an_archive_that_never_reports_is_queried_where_it_may_be(
    archive: Start, sent: Callable[..., Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.deliver.commitment.LINGER_S", 0.0)
    pacs = archive(reports=0)
    results = sent(pacs, "auto")
    results.steps_within(3 * 86_400, 3_600)
    assert len(pacs.asked) == 2
    assert results.states() == ["committed"] * 3
    assert results.reasons() == {"found at PACS"}


@pytest.mark.parametrize("refusal", [{"statuses": [0x0110]}, {"statuses": [0x0122]}, {"services": (SR, SEG, FIND)}])
def test_where_commitment_is_not_to_be_had_objects_are_asked_for(
    archive: Start, sent: Callable[..., Sent], refusal: dict[str, object]
) -> None:
    pacs = archive(**refusal)
    results = sent(pacs)
    assert results.steps_within(60) >= 2
    assert results.states() == ["committed"] * 3
    assert results.reasons() == {"found at PACS"}
    assert len(pacs.asked) == (0 if "services" in refusal else 1)


@pytest.mark.parametrize("refusal", [{"statuses": [0x0110]}, {"services": (SR, SEG, FIND)}])
def test_who_is_to_be_asked_is_not_queried(
    archive: Start, sent: Callable[..., Sent], refusal: dict[str, object]
) -> None:
    pacs = archive(**refusal)
    results = sent(pacs, "ask")
    results.steps_within(7_200, 600)
    assert (results.states(), pacs.queries) == (["sent"] * 3, [])
    assert all("it is asked again" in reason for reason in results.reasons())
    assert len(pacs.asked) == (0 if "services" in refusal else pytest.approx(6, abs=2))


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_query_names_whole_uids_and_believes_only_what_it_asked_for(
    archive: Start, sent: Callable[..., Sent]
) -> None:
    pacs = archive()
    results = sent(pacs, "query")
    pacs.held.discard(results.uids[2])
    stranger = Dataset()
    stranger.QueryRetrieveLevel = "IMAGE"
    stranger.StudyInstanceUID, stranger.SeriesInstanceUID, stranger.SOPInstanceUID = "9.9.9", "9.9.9.1", results.uids[2]
    other = Dataset()
    other.QueryRetrieveLevel = "IMAGE"
    other.add(DataElement(0x00080018, "UI", "../../etc", validation_mode=IGNORE))
    pacs.strangers = [stranger, other]
    assert results.confirming.step()
    assert results.states() == ["committed", "committed", "sent"]
    assert pacs.asked == []
    for query in pacs.queries:
        keys = (query.StudyInstanceUID, query.SeriesInstanceUID, query.SOPInstanceUID)
        assert query.QueryRetrieveLevel == "IMAGE"
        assert not any(mark in key for key in keys for mark in "*?\\")
        assert keys[0] == STUDY


def test_what_is_not_found_is_sent_once_more(archive: Start, sent: Callable[..., Sent]) -> None:
    pacs = archive()
    results = sent(pacs, "query", 1)
    pacs.held.clear()
    results.steps_within(5_000, 30)
    assert results.states() == ["queued"]
    results.send()
    pacs.held |= set(results.uids)
    results.steps_within(60)
    assert results.states() == ["committed"]
    assert 8 <= len(pacs.queries) <= 12


@pytest.mark.parametrize("refusal", [{"services": (SR, SEG)}, {"services": (FIND,), "find_status": 0xA900}])
def test_who_answers_nothing_leaves_results_sent_with_the_reason(
    archive: Start, sent: Callable[..., Sent], refusal: dict[str, object]
) -> None:
    results = sent(archive(**refusal))
    results.steps_within(60)
    assert results.states() == ["sent"] * 3
    assert all("neither storage commitment nor queries" in reason for reason in results.reasons())
    results.clock.reboot()
    assert not results.confirming.step()


def test_nobody_is_asked_where_confirm_is_none(archive: Start, sent: Callable[..., Sent]) -> None:
    pacs = archive()
    assert not sent(pacs, "none").confirming.step()
    assert pacs.associations == 0


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_archive_that_is_away_is_asked_once_it_is_back(
    archive: Start, sent: Callable[..., Sent], nobody: int
) -> None:
    results = sent(nobody)
    assert results.steps_within(600, 10) >= 3
    assert results.states() == ["sent"] * 3
    pacs = archive()
    pacs.held |= set(results.uids)
    peer = results.settings.peer_named("PACS")
    assert peer is not None
    results.confirming._peer = peer.model_copy(update={"port": pacs.port})
    results.clock.forward(100)
    results.steps_within(10)
    assert results.states() == ["committed"] * 3
    first = commitments.unconfirmed(results.db, results.rows[0].id)
    assert first is not None
    assert first.way is Way.CONFIGURED


def test_a_request_is_of_a_hundred_results_at_most(archive: Start, sent: Callable[..., Sent]) -> None:
    pacs = archive(services=(PUSH_MODEL,))
    results = sent(pacs, number=101)
    results.steps_within(20)
    assert [len(each.ReferencedSOPSequence) for each in pacs.asked] == [100, 1]
    assert results.states() == ["committed"] * 101


def test_urgent_results_do_not_wait_for_a_report(
    archive: Start, sent: Callable[..., Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    pacs = archive(reports=0)
    results = sent(pacs)
    told: list[bool] = []
    monkeypatch.setattr(Dialogue, "linger", lambda _self, is_over, _limit_s: told.append(is_over()))
    monkeypatch.setattr(outbox, "waiting", lambda _db: {"PACS": 1})
    assert results.confirming.step()
    assert told == [True]
