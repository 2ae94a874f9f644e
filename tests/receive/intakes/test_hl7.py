from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from node.config import Settings
from node.config.security import TlsSettings
from node.domain.history import Fact
from node.domain.patient import Patient
from node.errors import Misconfigured
from node.receive.hl7.server import Hl7Port
from node.receive.intakes import hl7
from node.receive.keeper import Keeper
from node.store import events, history, hl7_messages
from node.store.database import Database
from node.store.hl7_messages import MessageState
from tests.receive.authorities import Hospital
from tests.receive.hl7.messages import RIS, Client, framed, message, pid, settings_of
from tests.receive.ports import opening
from tests.site import wait_until

PATIENT = Patient(patient_id="P1", issuer="A", birth_date="19700101", sex="F")
ALLERGY = "AL1|1|DA|372687004^Amoxicillin^SCT|SV|hives"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


@pytest.fixture
def opened(keeper: Keeper) -> Iterator[Callable[[Settings], Hl7Port]]:
    """Opens the port with other settings."""
    with opening(hl7.start, Hl7Port, keeper) as open_with:
        yield open_with


@pytest.fixture
def port(opened: Callable[[Settings], Hl7Port], settings: Settings) -> int:
    return opened(settings).port


def settle(db: Database) -> dict[str, int]:
    """Wait until nothing is left to be acted upon; what became of all messages."""
    wait_until("every message is acted upon", lambda: hl7_messages.next_waiting(db) is None, limit_s=30)
    return hl7_messages.tally(db)


def known(db: Database) -> list[str]:
    return [fact.value for fact in history.facts(db, PATIENT, study="")]


def reasons(db: Database, about: str) -> list[str]:
    """Reasons of events; these are written beside the answer."""
    return wait_until(about, lambda: [each.reason for each in events.latest(db, about)], limit_s=30)


def _is_told(db: Database, wanted: str) -> bool:
    return any(wanted in each for each in reasons(db, "security"))


def test_what_a_system_tells_is_acknowledged_and_known(port: int, db: Database):
    with Client(port) as ris:
        ris.send(message("ADT^A08^ADT_A01", pid(), ALLERGY, control_id="17"))
        header, msa = ris.answer()
    assert header[2:6] == ["MATINS", "", "RADIS", "HOSP"]
    assert (header[8], header[11]) == ("ACK^A08", "2.5.1")
    assert msa[:3] == ["MSA", "AA", "17"]
    assert settle(db) == {MessageState.APPLIED: 1}
    [fact] = history.facts(db, PATIENT, study="")
    assert fact == Fact(code="allergy", value="Amoxicillin: hives", source="hl7 RIS", coded="SCT:372687004")


def test_a_message_that_comes_again_is_acknowledged_again_and_does_nothing(port: int, db: Database):
    # Without a time, each would count if it were acted upon.
    told = message("ADT^A08", pid(), ALLERGY, control_id="1", at="")
    with Client(port) as ris:
        assert ris.told(told) == "AA"
        assert ris.told(message("ADT^A08", pid(), 'AL1|1||""', at="")) == "AA"
        settle(db)
        assert ris.told(told) == "AA"
    assert settle(db) == {MessageState.APPLIED: 2}
    assert known(db) == []


def test_an_acknowledgement_that_is_lost_loses_nothing_and_doubles_nothing(port: int, db: Database):
    told = message("ADT^A08", pid(), ALLERGY)
    for _ in range(3):
        with Client(port) as ris:
            ris.send(told)
    wait_until("it is kept", lambda: hl7_messages.tally(db), limit_s=30)
    with Client(port) as ris:
        assert ris.told(told) == "AA"
    assert settle(db) == {MessageState.APPLIED: 1}
    assert known(db) == ["Amoxicillin: hives"]


def test_a_control_id_with_another_content_is_taken_and_noted(port: int, db: Database):
    with Client(port) as ris:
        assert ris.told(message("ADT^A08", pid(), ALLERGY, control_id="1")) == "AA"
        assert ris.told(message("ADT^A31", pid(), "DG1|1||I26.9^Embolism^I10", control_id="1")) == "AA"
    assert settle(db) == {MessageState.APPLIED: 2}
    assert known(db) == ["Amoxicillin: hives", "Embolism"]
    assert any("used before" in reason for reason in reasons(db, "hl7"))


def test_several_messages_in_one_piece_are_each_answered_in_their_order(port: int, db: Database):
    with Client(port) as ris:
        ris.socket.sendall(b"\r\n".join(framed(message("ADT^A08", pid(), control_id=f"N{n}")) for n in range(5)))
        assert [ris.answer()[1][1:3] for _ in range(5)] == [["AA", f"N{n}"] for n in range(5)]


@pytest.mark.parametrize(
    ("content", "answer", "code"),
    [
        (message("ADT^A40", pid("P1^^^HOSP"), "MRG|P9^^^OTHERHOSP"), "AE", "100"),
        (message("ADT^A43", pid(), "MRG|P9^^^HOSP"), "AE", "100"),
        (message("ADT^A08", "PID|1||P1"), "AA", ""),
        (message("ADT^A08", more="||||||8859/1") + "PID|1||P1^^^HOSP||Dö".encode("latin-1"), "AA", ""),
        (message("ADT^A08", more="||||||ASCII") + "PID|1||P1^^^HOSP||Dö".encode("latin-1"), "AE", "100"),
        (message("ADT^A08", more="||||||KLINGON"), "AE", "100"),
        (message("ADT^A08"), "AE", "100"),
        (message("ADT^A08", pid(), "not a segment"), "AE", "100"),
        (message("ADT^A99", pid()), "AR", "201"),
        (message("SIU^S12", pid()), "AR", "200"),
        (message("ADT^A08", pid()).replace(b"|2.5.1", b"|3.0"), "AR", "203"),
        (message("ADT^A08", pid()).replace(b"|P|2.5.1", b"|T|2.5.1"), "AR", "202"),
        (message("ADT^A08", pid(), control_id="x").replace(b"|x|P", b"||P"), "AE", "100"),
    ],
)
def test_what_is_not_taken_is_answered_with_its_reason_and_kept(
    port: int, db: Database, content: bytes, answer: str, code: str
):
    with Client(port) as ris:
        ris.send(content)
        found = ris.answer()
        assert found[1][1] == answer
        if code:
            assert found[2][3].split("^")[0] == code
            [trouble] = hl7_messages.troubles(db)
            assert (trouble.sender, trouble.state) == ("RIS", MessageState.NOT_UNDERSTOOD)
            assert reasons(db, "hl7") == [trouble.reason]
        assert ris.told(message("ADT^A08", pid())) == "AA"


def test_what_was_not_understood_is_looked_at_anew_when_it_comes_again(
    opened: Callable[[Settings], Hl7Port], tmp_path: Path, db: Database
):
    told = message("ADT^A40", pid(), "MRG|P9^^^NEWHOSP")
    first = opened(settings_of(tmp_path))
    with Client(first.port) as ris:
        assert [ris.told(told), ris.told(told)] == ["AE", "AE"]
    first.stop(0.0)
    mended = {**RIS, "authorities": {"HOSP": "A", "NEWHOSP": "A"}}
    with Client(opened(settings_of(tmp_path, senders=[mended])).port) as ris:
        assert ris.told(told) == "AA"
    assert settle(db) == {MessageState.APPLIED: 1}


def test_what_failed_over_a_fault_of_ours_is_acted_upon_when_it_comes_again(port: int, db: Database):
    told = message("ADT^A08", pid(), "AL1|1|DA|372687004^Amoxicillin^SCT|SV|hives")
    with Client(port) as ris:
        assert ris.told(told) == "AA"
        settle(db)
        db.execute("UPDATE hl7_message SET state = 'failed', attempts = 3")
        db.execute("DELETE FROM history")
        assert (ris.told(told), settle(db)) == ("AA", {MessageState.APPLIED: 1})
    assert known(db) == ["Amoxicillin: hives"]


@pytest.mark.parametrize(
    ("accept", "application", "good", "bad"),
    [("", "", "AA", "AE"), ("AL", "NE", "CA", "CE"), ("NE", "AL", "AA", "AE"), ("ER", "NE", None, "CE"),
     ("SU", "AL", "CA", None), ("NE", "NE", None, None), ("", "ER", None, "AE")],
)  # fmt: skip
def test_the_acknowledgement_is_the_one_that_is_asked_for(
    port: int, accept: str, application: str, good: str | None, bad: str | None
):
    """Where none is asked for, the next one to come is that of the message after."""
    asked = f"|||{accept}|{application}"
    with Client(port) as ris:
        for number, (wanted, segments) in enumerate(((good, (pid(),)), (bad, ()))):
            ris.send(message("ADT^A08", *segments, more=asked, control_id=f"Q{number}"))
            ris.send(message("ADT^A08", pid(), control_id=f"Z{number}"))
            found = ris.answer()[1][1:3]
            if wanted is not None:
                assert found == [wanted, f"Q{number}"]
                found = ris.answer()[1][1:3]
            assert found == ["AA", f"Z{number}"]


# ------------------------------------------------------------------------------------------------------ who may send


def test_a_stranger_is_refused_and_closed(port: int, db: Database):
    with Client(port) as stranger:
        assert stranger.told(message("ADT^A08", pid(), sender="EVIL|HOSP")) == "AR"
        assert stranger.answer() == []
    assert any("no sender" in reason for reason in reasons(db, "association"))
    assert hl7_messages.tally(db) == {}


def test_who_calls_from_elsewhere_is_refused_and_an_alert(opened, tmp_path: Path, db: Database):
    elsewhere = {**RIS, "addresses": ["192.0.2.0/24"]}
    with Client(opened(settings_of(tmp_path, senders=[elsewhere])).port) as stranger:
        assert stranger.told(message("ADT^A08", pid())) == "AR"
    assert reasons(db, "security") == ["HL7: RIS may not call from 127.0.0.1"]


def test_who_is_on_no_list_is_closed_unread(opened, tmp_path: Path, db: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("node.receive.hl7.server.is_listed", lambda _settings, _address: False)
    with Client(opened(settings_of(tmp_path)).port) as stranger:
        assert stranger.answer() == []
    assert any("closed unread" in reason for reason in reasons(db, "association"))


def test_one_sender_cannot_shut_others_out(opened, tmp_path: Path):
    his = {**RIS, "name": "HIS", "application": "HIS"}
    running = opened(settings_of(tmp_path, senders=[RIS, his], maximum_connections=4, maximum_connections_per_sender=2))
    clients = [Client(running.port) for _ in range(3)]
    try:
        assert [each.told(message("ADT^A08", pid())) for each in clients] == ["AA", "AA", ""]
        with Client(running.port) as other:
            assert other.told(message("ADT^A08", pid(), sender="HIS|HOSP")) == "AA"
    finally:
        for each in clients:
            each.socket.close()


def test_nobody_listens_unless_it_is_enabled(tmp_path: Path, keeper: Keeper):
    assert hl7.start(settings_of(tmp_path, enabled=False), keeper) is None


def test_a_port_that_is_taken_is_named(tmp_path: Path, keeper: Keeper):
    settings = settings_of(tmp_path)
    taken = socket.create_server(("127.0.0.1", settings.receive.hl7.port))
    with closing(taken), pytest.raises(Misconfigured, match=r"receive\.hl7\.port"):
        hl7.start(settings, keeper)


# ------------------------------------------------------------------------------------------------------ bad manners


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x0bMSH|^~\\&|RADIS|HOSP",
        b"\x0b\x1c\x0d",
        b"\x0bMSH|\x1c\x0d",
        framed(b"\x00" * 1000),
        b"\x0b" + b"\x0b" * 1000 + b"\x1c\x0d",
        framed(message("ADT^A08", pid()).replace(b"RADIS", b"RA\x0bDIS")),
        framed(b"MSH|||||||||||||||||"),
        framed(b"MSHMSHMSHMSH"),
    ],
)
def test_who_does_not_keep_to_the_protocol_is_closed(port: int, db: Database, content: bytes):
    with Client(port) as stranger:
        stranger.socket.sendall(content)
        assert stranger.answer() == []
    assert hl7_messages.tally(db) == {}
    with Client(port) as ris:
        assert ris.told(message("ADT^A08", pid())) == "AA"


def test_a_message_that_drips_is_broken_off_and_holds_nobody_up(opened, tmp_path: Path):
    running = opened(settings_of(tmp_path, message_s=0.5))
    with Client(running.port) as slow, Client(running.port) as ris:
        content, sent = framed(message("ADT^A08", pid())), 0
        with suppress(OSError):
            while sent < len(content) - 3:
                slow.socket.sendall(content[sent : sent + 1])
                sent += 1
                assert ris.told(message("ADT^A08", pid())) == "AA"
                time.sleep(0.05)
        assert sent < len(content) - 3
        with suppress(OSError):
            assert slow.answer() == []


def test_an_overlong_message_is_refused_and_kept_in_mind_without_its_content(opened, tmp_path: Path, db: Database):
    running = opened(settings_of(tmp_path, maximum_message_bytes=2048))
    with Client(running.port) as ris:
        ris.socket.sendall(b"\x0b" + message("ADT^A08", pid(), "NTE|1||" + "x" * 100_000)[:60_000])
        found = ris.answer()
        assert (found[1][1], found[2][8]) == ("AE", "a message of more than 2048 bytes")
    [row] = db.rows("SELECT length(content) AS size, state FROM hl7_message")
    assert (row["size"], row["state"]) == (0, MessageState.NOT_UNDERSTOOD)


def test_a_connection_that_says_nothing_gives_way_to_a_newcomer(opened, tmp_path: Path):
    running = opened(settings_of(tmp_path, maximum_connections=2))
    silent = [Client(running.port) for _ in range(6)]
    try:
        with Client(running.port) as ris:
            assert ris.told(message("ADT^A08", pid())) == "AA"
        assert silent[0].answer() == []
    finally:
        for each in silent:
            each.socket.close()


def test_nothing_is_acknowledged_that_could_not_be_kept(port: int, db: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("node.store.database._BUSY_S", 0.2)
    with db.transaction(), Client(port) as ris:
        ris.send(message("ADT^A08", pid(), ALLERGY))
        assert ris.answer() == []
    assert hl7_messages.tally(db) == {}


def test_the_log_and_the_events_name_no_patient(port: int, db: Database, capsys: pytest.CaptureFixture[str]):
    with Client(port) as ris:
        ris.told(message("ADT^A08", pid("P4711^^^HOSP", "Musterfrau^Erika", "19641231"), ALLERGY))
        ris.told(message("ADT^A40", pid("P4711^^^HOSP", "Musterfrau^Erika"), "MRG|P4712^^^HOSP"))
        ris.told(message("ADT^A40", pid("P4712^^^HOSP", "Musterfrau^Erika"), "MRG|P4711^^^HOSP"))
        ris.told(message("ORM^O01", pid("P4711^^^HOSP"), "ORC|NW|4713", "OBR|1|4713||CT|||||||||||||||ACC4714"))
    settle(db)
    written = capsys.readouterr().out + "".join(str(dict(row)) for row in db.rows("SELECT * FROM event"))
    for secret in ("4711", "4712", "4713", "4714", "Musterfrau", "1231", "Amox"):
        assert secret not in written


def test_over_tls_a_sender_is_who_its_certificate_says(
    opened: Callable[[Settings], Hl7Port], tmp_path: Path, db: Database
):
    hospital = Hospital(tmp_path / "hospital")
    shown = {"RIS": hospital.issue("ris", "ris.example.org"), "OTHER": hospital.issue("other", "other.example.org")}
    bound = {**RIS, "certificate": {"name": "ris.example.org"}}
    unbound = {**RIS, "name": "HIS", "application": "HIS"}
    settings = settings_of(tmp_path, senders=[bound, unbound])
    receive = settings.receive.model_copy(update={"tls": TlsSettings.model_validate(hospital.settings())})
    port = opened(settings.model_copy(update={"receive": receive})).port

    def answer(who: str, sender: str) -> str:
        context = hospital.client(shown[who])
        with Client(port) as client:
            client.socket = context.wrap_socket(client.socket, server_hostname="localhost")
            return client.told(message("ADT^A08", pid(), sender=sender))

    assert [answer("RIS", "RADIS|HOSP"), answer("OTHER", "RADIS|HOSP"), answer("RIS", "HIS|HOSP")] == ["AA", "AR", "AR"]
    with Client(port) as plain:
        assert plain.told(message("ADT^A08", pid())) == ""
    for wanted in ("not in the name ris.example.org", "HIS has no certificate"):
        wait_until(wanted, partial(_is_told, db, wanted), limit_s=30)
