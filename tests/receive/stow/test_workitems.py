"""UPS-RS: the same steps, the same rules and the same refusals as at the DICOM port, in the words of HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from node.config import Settings
from node.domain.dicom_json import Attributes, coded, element, text
from node.receive.intakes import stow
from node.receive.keeper import Keeper
from node.receive.stow.server import HttpPort
from node.store import ups, ups_watch
from node.store.database import Database
from tests.receive.objects import PEER, settings_for
from tests.receive.stow.bodies import TOKEN
from tests.site import free_port

STEP, LOCK = "1.2.3.9.1", "1.2.3.77.1"
OTHERS = "f" * 64
JSON = "application/dicom+json"


def step(**changes: Attributes) -> Attributes:
    said = {
        "00741000": element("CS", "SCHEDULED"),
        "00741200": element("CS", "HIGH"),
        "00741204": element("LO", "Look for blood"),
        "00404005": element("DT", "20260101120000"),
        "00404041": element("CS", "READY"),
        "00100010": element("PN", "Müller^Änne"),
        "00100020": element("LO", "P-1"),
        "00404018": element("SQ", coded("110004", "DCM", "Computer Aided Diagnosis")),
    }
    return said | changes


DONE = {
    "00741216": element("SQ", {
        "00404028": element("SQ", coded("AI", "99SITE", "AI")),
        "00404019": element("SQ", coded("110004", "DCM", "Computer Aided Diagnosis")),
        "00404050": element("DT", "20260101120000"),
        "00404051": element("DT", "20260101120100"),
        "00404033": element("SQ"),
    })
}  # fmt: skip


def token(folder: Path, name: str, value: str) -> str:
    file = folder / name
    file.write_text(value + "\n")
    file.chmod(0o600)
    return str(file)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    roles = {"roles": ["requester", "performer"], "host": "127.0.0.1", "port": 104}
    peers = [
        {**PEER, **roles, "name": "RIS", "ae_title": "RIS1", "stow_token_file": token(tmp_path, "a", TOKEN)},
        {**PEER, "stow_token_file": token(tmp_path, "b", OTHERS)},
    ]
    limits = {"stow": {"enabled": True, "port": free_port()}, "artim_s": 5.0, "idle_s": 5.0}
    return settings_for(tmp_path / "var", *peers, receive=limits)


@pytest.fixture
def web(settings: Settings, keeper: Keeper) -> Iterator[httpx.Client]:
    port = stow.start(settings, keeper)
    assert isinstance(port, HttpPort)
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": JSON}
    address = f"http://127.0.0.1:{settings.receive.stow.port}"
    with httpx.Client(base_url=address, headers=headers, trust_env=False, timeout=30.0) as client:
        yield client
    port.stop(0.0)


def sent(web: httpx.Client, method: str, path: str, said: Any = None, **headers: str) -> httpx.Response:
    content = b"" if said is None else json.dumps(said).encode()
    return web.request(method, path, content=content, headers={"Content-Type": JSON, **headers})


def made(web: httpx.Client, uid: str = STEP, **changes: Attributes) -> httpx.Response:
    return sent(web, "POST", f"/workitems?{uid}", [step(**changes)])


def state(web: httpx.Client, after: str, lock: str = LOCK) -> httpx.Response:
    said = {"00741000": element("CS", after), "00081195": element("UI", lock)}
    return sent(web, "PUT", f"/workitems/{STEP}/state", said)


def test_a_step_is_made_found_claimed_changed_and_completed(web: httpx.Client) -> None:
    answer = made(web)
    assert (answer.status_code, answer.headers["location"]) == (201, f"/workitems/{STEP}")
    (found,) = web.get("/workitems", params={"PatientID": "P-1", "00741000": "SCHEDULED"}).json()
    assert (text(found, "00080018"), text(found, "00100010")) == (STEP, "Müller^Änne")
    assert state(web, "IN PROGRESS").status_code == 200
    progress = {"00741002": element("SQ", {"00741004": element("DS", 50)})}
    assert sent(web, "POST", f"/workitems/{STEP}?{LOCK}", progress).status_code == 200
    assert sent(web, "POST", f"/workitems/{STEP}?transaction-uid={LOCK}", DONE).status_code == 200
    assert state(web, "COMPLETED").status_code == 200
    (said,) = web.get(f"/workitems/{STEP}").json()
    assert text(said, "00741000") == "COMPLETED"
    assert "00081195" not in said


def test_a_step_without_a_uid_gets_one(web: httpx.Client) -> None:
    where = sent(web, "POST", "/workitems", step()).headers["location"]
    assert web.get(where).status_code == 200


@pytest.mark.parametrize("query", ["ScheduledWorkitemCodeSequence.CodeValue=110004", "00404018.00080100=110004",
                                   "PatientName=m*", "includefield=all&fuzzymatching=false", ""])  # fmt: skip
def test_steps_are_found_by_keywords_tags_and_items(web: httpx.Client, query: str) -> None:
    made(web)
    assert len(web.get(f"/workitems?{query}").json()) == 1


def test_what_matches_nothing_is_no_content_and_pages_are_cut(web: httpx.Client) -> None:
    for number in range(3):
        made(web, f"1.2.3.9.{number}")
    assert web.get("/workitems?PatientID=NOBODY").status_code == 204
    assert len(web.get("/workitems?limit=2").json()) == 2
    assert len(web.get("/workitems?limit=2&offset=2").json()) == 1


def claimed(web: httpx.Client) -> None:
    made(web)
    state(web, "IN PROGRESS")


def canceled(web: httpx.Client) -> None:
    made(web)
    sent(web, "POST", f"/workitems/{STEP}/cancelrequest")


def cancel(web: httpx.Client) -> httpx.Response:
    return sent(web, "POST", f"/workitems/{STEP}/cancelrequest")


Act = Callable[[httpx.Client], httpx.Response]
#: What stood before, what is asked, the HTTP status, what the Warning says.
CASES: dict[str, tuple[Callable[[httpx.Client], Any] | None, Act, int, str]] = {
    "made twice": (made, made, 409, "0x0111"),
    "made in progress": (None, lambda web: made(web, **{"00741000": element("CS", "IN PROGRESS")}), 400, "0xC309"),
    "no label": (None, lambda web: made(web, **{"00741204": element("LO")}), 400, "0x0121"),
    "unknown read": (None, lambda web: web.get(f"/workitems/{STEP}"), 404, "0xC307"),
    "unknown changed": (None, lambda web: sent(web, "POST", f"/workitems/{STEP}", DONE), 404, "0xC307"),
    "unknown claimed": (None, lambda web: state(web, "IN PROGRESS"), 404, "0xC307"),
    "claimed by another": (claimed, lambda web: state(web, "IN PROGRESS", "1.2.3.78"), 400, "0xC301"),
    "claimed again": (claimed, lambda web: state(web, "IN PROGRESS"), 409, "0xC302"),
    "scheduled again": (claimed, lambda web: state(web, "SCHEDULED"), 409, "0xC303"),
    "completed too early": (claimed, lambda web: state(web, "COMPLETED"), 409, "0xC304"),
    "completed unclaimed": (made, lambda web: state(web, "COMPLETED"), 409, "0xC310"),
    "changed with a wrong lock": (claimed, lambda web: sent(web, "POST", f"/workitems/{STEP}?1.2.3.78", DONE), 400,
                                  "0xC301"),
    "changed when final": (canceled, lambda web: sent(web, "POST", f"/workitems/{STEP}?{LOCK}", DONE), 400, "0xC300"),
    "canceled twice": (canceled, cancel, 202, "already in the requested state of CANCELED"),
    "cancel of nobody's": (claimed, cancel, 409, "The performer cannot be contacted"),
    "watched by nobody known": (made, lambda web: sent(web, "POST", f"/workitems/{STEP}/subscribers/NOBODY"), 400,
                                "0xC308"),
    "a key that is none": (None, lambda web: web.get("/workitems?NoSuchThing=1"), 400, "0xA900"),
    "no JSON": (None, lambda web: web.post("/workitems", content=b"{", headers={"Content-Type": JSON}), 400, "0xC000"),
    "no data set": (None, lambda web: sent(web, "POST", "/workitems", [1, 2]), 400, "0xC000"),
    "a value that is none": (None, lambda web: sent(web, "POST", "/workitems", {"00100010": {"vr": "PN", "Value": 7}}),
                             400, "0x"),
    "no UID": (None, lambda web: sent(web, "POST", "/workitems?not-a-uid", step()), 400, "0x0106"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused_has_the_status_of_its_table_and_says_why(web: httpx.Client, case: str) -> None:
    before, act, code, words = CASES[case]
    if before is not None:
        before(web)
    answer = act(web)
    assert (answer.status_code, words in answer.headers["warning"]) == (code, True), answer.headers
    assert answer.headers["warning"].startswith("299 ")


def test_a_request_to_cancel_an_unclaimed_step_is_accepted(web: httpx.Client, db: Database) -> None:
    made(web)
    assert cancel(web).status_code == 202
    row = ups.step(db, STEP)
    assert row is not None
    assert row.state == "CANCELED"


def test_a_step_and_all_steps_are_watched_and_no_longer(web: httpx.Client, db: Database) -> None:
    made(web)
    assert sent(web, "POST", f"/workitems/{STEP}/subscribers/RIS1?deletionlock=true").status_code == 201
    assert ups_watch.subscriptions(db, STEP) == {"RIS": True}
    assert sent(web, "DELETE", f"/workitems/{STEP}/subscribers/RIS1").status_code == 200
    assert ups_watch.subscriptions(db, STEP) == {}
    every, some = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"
    assert sent(web, "POST", f"/workitems/{every}/subscribers/RIS1").status_code == 201
    assert sent(web, "POST", f"/workitems/{some}/subscribers/RIS1?PatientID=P-1").status_code == 201
    assert sent(web, "POST", f"/workitems/{every}/subscribers/RIS1/suspend").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "headers", "code"),
    [
        ("GET", "/workitems", {"Accept": "application/dicom+xml"}, 406),
        ("POST", "/workitems", {"Content-Type": "application/dicom+xml"}, 415),
        ("DELETE", f"/workitems/{STEP}", {}, 405),
        ("GET", "/workitems/not-a-uid", {}, 404),
        ("GET", "/workitems", {"Authorization": f"Bearer {OTHERS}"}, 403),
        ("GET", "/workitems", {"Authorization": "Bearer no"}, 401),
        ("GET", "/workitems", {"Origin": "https://evil.example"}, 403),
    ],
)
def test_what_is_not_offered_and_who_may_not_is_refused(
    web: httpx.Client, method: str, path: str, headers: dict[str, str], code: int
) -> None:
    assert sent(web, method, path, step() if method == "POST" else None, **headers).status_code == code


def test_who_only_works_on_steps_stores_nothing(web: httpx.Client) -> None:
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    assert web.post("/studies", content=b"--x--", headers=kind).status_code == 403


def test_a_body_that_is_too_long_is_refused_before_it_is_read_whole(web: httpx.Client) -> None:
    answer = web.post("/workitems", content=b" " * ((1 << 20) + 1), headers={"Content-Type": JSON})
    assert answer.status_code == 413
