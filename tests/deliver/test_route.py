from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from node.deliver.lifeline import Pulse
from node.deliver.route import MOST_REFUSALS, RouteQueue
from node.domain.notice import NoticeState
from node.errors import Transient
from node.loop import Stop
from node.store import events, notices
from node.store.database import Database
from node.workflow import operations
from node.workflow.policy import Policy
from tests.deliver.ris import BYTEWISE, FLOOD, FOREIGN, JUNK, LOST, OTHERS, RESET, SILENT, TWICE, Ris, listening
from tests.fakes import STUDY, FakeClock
from tests.notices import RIS, bleed, closed, newest, read, routed, told
from tests.site import free_port

NOWHERE = os.open(os.devnull, os.O_WRONLY)


@pytest.fixture
def ris() -> Iterator[Ris]:
    with listening(Ris()) as found:
        yield found


def policy_to(ris: Ris, **more: object) -> Policy:
    return routed({**RIS, "port": ris.port, "answer_s": 20.0, **more})


def queue(db: Database, clock: FakeClock, policy: Policy) -> RouteQueue:
    (route,) = policy.settings.routes
    return RouteQueue(db, clock, policy.settings, route, owner="deliver:1:", stop=Stop(), pulse=Pulse(NOWHERE))


def flag(db: Database, clock: FakeClock, policy: Policy, *studies: str, **more: str) -> None:
    """Studies with a finding each."""
    for study in studies or (STUDY,):
        accession = "A-0" if study == STUDY else f"A-{study}"
        closed(db, clock, policy, study=study, accession=accession, **more)  # type: ignore[arg-type]
        read(db, clock, policy, bleed())


def deliver(sender: RouteQueue, clock: FakeClock, *, steps: int = 12) -> None:
    for _ in range(steps):
        with suppress(Transient):
            sender.step()
        clock.forward(400)


def fields(message: str, segment: str) -> list[list[str]]:
    """The fields of every segment of that name; [0] is the name, so [n] is field n but for MSH."""
    return [line.split("|") for line in message.split("\r") if line.startswith(f"{segment}|")]


def test_a_finding_reaches_the_worklist_as_a_preliminary_result(db: Database, clock: FakeClock, ris: Ris) -> None:
    policy = policy_to(ris)
    flag(db, clock, policy)
    assert queue(db, clock, policy).step()
    ((control_id, message),) = ris.kept.items()
    notice = newest(db)
    assert (notice.state, notice.control_id, notice.attempts) == ("acknowledged", control_id, 1)
    assert fields(message, "OBR")[0][25] == "P"
    assert fields(message, "OBR")[0][18] == "A-0"
    assert {each[11] for each in fields(message, "OBX")} == {"P"}
    assert fields(message, "PID")[0][3] == "CANARY-ID^^^A"
    assert [each[5] for each in fields(message, "OBX") if each[3].startswith("FINDING^")] == ["50960005^Hemorrhage^SCT"]
    assert notice.lag_s is not None
    assert notice.lag_s >= 600


@pytest.mark.parametrize("reply", [LOST, RESET, JUNK, OTHERS, TWICE, BYTEWISE, "CA"])
def test_whatever_the_receiver_does_each_notice_is_there_once_and_the_same_every_time(
    db: Database, clock: FakeClock, ris: Ris, reply: str
) -> None:
    ris.replies = (reply, reply, "AA")
    policy = policy_to(ris)
    flag(db, clock, policy, "1.2.3.1", "1.2.4", "1.2.5")
    deliver(queue(db, clock, policy), clock)
    states = [notices.of_study(db, study)[0].state for study in ("1.2.3.1", "1.2.4", "1.2.5")]
    assert (states, len(ris.kept), ris.different) == (["acknowledged"] * 3, 3, [])


@pytest.mark.parametrize("reply", [SILENT, FLOOD, FOREIGN])
def test_a_receiver_that_says_nothing_of_use_is_left_and_sent_the_same_again(
    db: Database, clock: FakeClock, ris: Ris, reply: str
) -> None:
    ris.replies = (reply, "AA")
    policy = policy_to(ris, answer_s=0.3)
    flag(db, clock, policy)
    sender = queue(db, clock, policy)
    sender.step()
    waiting = newest(db)
    assert (waiting.state, bool(waiting.sent_at), bool(waiting.reason)) == ("sent", True, True)
    clock.forward(400)
    queue(db, clock, policy_to(ris)).step()
    assert newest(db).state == "acknowledged"
    assert (len(ris.kept), ris.different, ris.received) == (1, [], [waiting.control_id] * 2)


@pytest.mark.parametrize("reply", ["AE", "AR", "CE", "CR"])
def test_what_is_refused_is_tried_slowly_then_dead_until_a_person_retries(
    db: Database, clock: FakeClock, ris: Ris, reply: str
) -> None:
    ris.replies = (*(reply,) * MOST_REFUSALS, "AA")
    policy = policy_to(ris)
    flag(db, clock, policy)
    sender = queue(db, clock, policy)
    deliver(sender, clock)
    dead = newest(db)
    assert (dead.state, len(ris.received)) == ("dead", MOST_REFUSALS)
    assert f"answers {reply}" in dead.reason
    assert "the notice to RIS is sent again" in operations.retry(db, clock.now(), policy, STUDY)
    deliver(sender, clock, steps=2)
    assert newest(db).state == "acknowledged"
    assert set(ris.received) == {dead.control_id}


def test_a_refused_notice_holds_up_no_other(db: Database, clock: FakeClock, ris: Ris) -> None:
    ris.replies = ("AE", "AA")
    policy = policy_to(ris)
    flag(db, clock, policy, "1.2.3.1", "1.2.4")
    queue(db, clock, policy).step()
    assert [notices.of_study(db, each)[0].state for each in ("1.2.3.1", "1.2.4")] == ["sent", "acknowledged"]


def test_after_an_outage_the_most_urgent_study_is_told_first(db: Database, clock: FakeClock) -> None:
    ris = Ris(port=free_port())
    policy = policy_to(ris)
    flag(db, clock, policy, "1.2.3.1", "1.2.4")
    flag(db, clock, policy, "1.2.5", priority="STAT")
    sender = queue(db, clock, policy)
    deliver(sender, clock, steps=3)
    assert {each.state for each in notices.of_study(db, "1.2.5")} == {"queued"}
    assert "nobody answers at 127.0.0.1" in notices.last_trouble(db, "RIS")
    with listening(ris):
        deliver(sender, clock)
    assert [notices.of_study(db, each)[0].state for each in ("1.2.3.1", "1.2.4")] == ["acknowledged"] * 2
    assert ris.received[0] == notices.of_study(db, "1.2.5")[0].control_id


def test_what_waited_for_a_receiver_that_is_back_is_sent_at_once(db: Database, clock: FakeClock, ris: Ris) -> None:
    ris.replies = (LOST, "AA")
    policy = policy_to(ris)
    flag(db, clock, policy, "1.2.3.1", "1.2.4")
    sender = queue(db, clock, policy)
    sender.step()
    # The route has rested; the notice that failed waits half as long again.
    clock.forward(5)
    sender.step()
    assert [notices.of_study(db, each)[0].state for each in ("1.2.3.1", "1.2.4")] == ["acknowledged"] * 2


def test_a_study_that_came_back_to_the_same_place_during_an_outage_is_told_once_as_it_stands(
    db: Database, clock: FakeClock, ris: Ris
) -> None:
    policy = policy_to(ris)
    flag(db, clock, policy)
    operations.withdraw(db, clock.now(), policy, STUDY, "no")
    deliver(queue(db, clock, policy), clock, steps=3)
    assert [state for _, state, _ in told(db)] == ["superseded", "acknowledged"]
    ((_, message),) = ris.kept.items()
    assert fields(message, "OBX")[-1][11] == "P"
    assert not [each for each in fields(message, "OBX") if each[3].startswith("FINDING^")]


def test_a_withdrawn_finding_is_taken_back_by_another_preliminary_message_of_the_same_order(
    db: Database, clock: FakeClock, ris: Ris
) -> None:
    policy = policy_to(ris)
    flag(db, clock, policy)
    sender = queue(db, clock, policy)
    sender.step()
    operations.withdraw(db, clock.now(), policy, STUDY, "wrong side")
    sender.step()
    first, second = ris.kept.values()
    assert fields(first, "OBR")[0][3] == fields(second, "OBR")[0][3]
    (said,) = [each[5] for each in fields(second, "OBX") if each[3].startswith("FINDINGS^")]
    assert said == "No finding is told; this rules nothing out"
    assert {each[11] for each in fields(second, "OBX")} == {"P"}


def test_without_an_accession_number_nothing_is_sent_and_the_reason_is_told(
    db: Database, clock: FakeClock, ris: Ris
) -> None:
    policy = policy_to(ris)
    closed(db, clock, policy, accession="")
    read(db, clock, policy, bleed())
    deliver(queue(db, clock, policy), clock, steps=2)
    assert (newest(db).state, ris.received) == ("held", [])
    assert "no accession number" in newest(db).reason


def test_a_template_that_was_spoilt_has_notices_wait_until_it_is_mended(
    db: Database, clock: FakeClock, ris: Ris, tmp_path: Path
) -> None:
    file = tmp_path / "own.hl7"
    file.write_text("MSH|nonsense\n")
    policy = policy_to(ris, template_file=str(file))
    flag(db, clock, policy)
    sender = queue(db, clock, policy)
    deliver(sender, clock, steps=2)
    assert (newest(db).state, ris.received) == ("queued", [])
    assert "own.hl7" in newest(db).reason
    shipped = Path(__file__).parents[2] / "node/deliver/routes/templates/oru_r01.hl7"
    file.write_text(shipped.read_text())
    deliver(sender, clock, steps=3)
    assert newest(db).state == "acknowledged"


def test_a_sender_that_dies_between_sending_and_recording_sends_the_very_same_again(
    db: Database, clock: FakeClock, ris: Ris, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_to(ris)
    flag(db, clock, policy)
    sender = queue(db, clock, policy)

    def dies(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(sender, "_record", dies)
    with pytest.raises(KeyboardInterrupt):
        sender.step()
    assert newest(db).state is NoticeState.SENT
    # The next process has another template, another clock, and the same message.
    other = queue(db, clock, policy_to(ris, sending_facility="ELSEWHERE"))
    clock.forward(1000)
    deliver(other, clock, steps=2)
    assert newest(db).state == "acknowledged"
    assert (len(ris.kept), len(ris.received), ris.different) == (1, 2, [])


def test_nothing_of_a_receivers_words_or_of_the_patient_is_in_events_or_logs(
    db: Database, clock: FakeClock, ris: Ris, capsys: pytest.CaptureFixture[str]
) -> None:
    ris.replies = ("AE", LOST, "AE")
    policy = policy_to(ris)
    flag(db, clock, policy)
    deliver(queue(db, clock, policy), clock)
    said = " ".join(f"{each.subject} {each.reason}" for each in events.of_study(db, STUDY) if each.about == "notice")
    logged = "".join(capsys.readouterr())
    assert "AE" in said
    assert "notice_dead" in logged
    for canary in ("CANARY", "A-0", "19440101"):
        assert canary not in said + logged
    assert "\x1b[31m" not in said
