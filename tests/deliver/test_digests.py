"""The digest of the night goes to people once, in numbers, and waits for a receiver that is away."""

from __future__ import annotations

import email
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from node.config import Route, Settings
from node.deliver.digests import DigestQueue, numbers
from node.deliver.lifeline import Pulse
from node.deliver.routes import email as mail_kind
from node.domain.notice import NoticeState
from node.store import digests
from node.store.database import Database
from tests.deliver.routes.test_webhook import SECRET, Receiver, listening
from tests.fakes import FakeClock
from tests.site import ROOT, free_port

DAY = date(2026, 1, 3)
#: As `workflow.digest` gathers it.
BODY: dict[str, Any] = {
    "day": "2026-01-03",
    "since": "2026-01-02T06:00:00+00:00",
    "arrived": 12,
    "unread": {"STAT": 1, "ROUTINE": 9},
    "moved_total": 2,
    "moved": [
        {"study_instance_uid": "1.2.77.1", "before": "", "after": "STAT 9", "why": "CANARYREASON", "is_new": True}
    ],
    "unacknowledged": [{"study_instance_uid": "1.2.77.1"}],
    "discrepancies": 0,
    "failed": {"models": [{"model": "brain", "number": 3, "reason": "CANARYREASON"}], "results": [], "work": []},
    "never_arrived_total": 1,
    "never_arrived": [{"study_instance_uid": "1.2.77.2"}],
    "pending": [],
    "unreachable": [{"what": "archive PACS", "reason": "CANARYREASON"}],
    "longest_waits": [{"study_instance_uid": "1.2.77.1", "waits_min": 400, "too_long": "CANARYREASON"}],
}


@contextmanager
def queue_to(db: Database, clock: FakeClock, port: int, tmp_path: Path, **more: object) -> Iterator[DigestQueue]:
    secret = tmp_path / "hook.secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    route = Route.model_validate(
        {
            "name": "HOOK",
            "kind": "webhook",
            "url": f"http://127.0.0.1:{port}/x",
            "secret_file": secret,
            "answer_s": 20.0,
        }
        | {"when": ["digest"]}
        | more
    )
    reading, writing = os.pipe()
    yield DigestQueue(db, clock, Settings(routes=(route,)), route, pulse=Pulse(writing))
    os.close(reading)
    os.close(writing)


@pytest.fixture
def written(db: Database, clock: FakeClock) -> None:
    with db.transaction():
        digests.record(db, clock.now(), DAY, BODY["since"], BODY, ["HOOK"])


def standing(db: Database) -> tuple[NoticeState, int]:
    (letter,) = digests.letters(db, DAY)
    return letter.state, letter.refusals


@pytest.mark.usefixtures("written")
def test_a_morning_is_told_once_in_numbers_alone(db: Database, clock: FakeClock, tmp_path: Path) -> None:
    with listening(Receiver()) as hook, queue_to(db, clock, hook.port, tmp_path) as queue:
        assert queue.step()
        assert not queue.step()
    ((_, headers, body),) = hook.received
    told = json.loads(body)
    assert (told["event"], told["day"], told["models_failed"]) == ("digest", "2026-01-03", {"brain": 3})
    assert (told["never_arrived"], told["wait_too_long"], told["unreachable"]) == (1, 1, ["archive PACS"])
    assert headers["Idempotency-Key"] == told["id"]
    assert not any(secret in body.decode() for secret in ("1.2.77", "CANARY"))
    assert standing(db) == (NoticeState.ACKNOWLEDGED, 0)


@pytest.mark.usefixtures("written")
def test_a_receiver_that_is_away_is_sent_the_very_same_later(db: Database, clock: FakeClock, tmp_path: Path) -> None:
    with queue_to(db, clock, free_port(), tmp_path) as queue:
        assert queue.step()
        assert not queue.step()
    assert standing(db)[0] is NoticeState.SENT
    with listening(Receiver([503, 200])) as hook, queue_to(db, clock, hook.port, tmp_path) as queue:
        for _ in range(4):
            queue.step()
            clock.forward(600)
    assert len({body for _, _, body in hook.received}) == 1
    assert (len(hook.received), standing(db)[0]) == (2, NoticeState.ACKNOWLEDGED)


@pytest.mark.usefixtures("written")
def test_what_is_refused_for_good_is_dead(db: Database, clock: FakeClock, tmp_path: Path) -> None:
    with listening(Receiver([400])) as hook, queue_to(db, clock, hook.port, tmp_path) as queue:
        for _ in range(9):
            queue.step()
            clock.forward(600)
    assert (len(hook.received), standing(db)) == (5, (NoticeState.DEAD, 5))


@pytest.mark.usefixtures("written")
def test_a_route_that_does_not_want_it_is_told_nothing(db: Database, clock: FakeClock, tmp_path: Path) -> None:
    with listening(Receiver()) as hook, queue_to(db, clock, hook.port, tmp_path, when=["urgent"]) as queue:
        assert not queue.step()
    assert hook.received == []


def test_a_mail_says_the_numbers_in_words() -> None:
    route = Route.model_validate(
        {"name": "MAIL", "kind": "email", "host": "h", "port": 25, "from_address": "a@x.org", "to": ["b@x.org"]}
    )
    at = datetime(2026, 1, 3, 5, tzinfo=UTC)
    raw = mail_kind.digest(route, numbers(BODY), "M1", at, "https://m.example.org/")
    assert raw == mail_kind.digest(route, numbers(BODY), "M1", at, "https://m.example.org/")
    mail = email.message_from_bytes(raw, policy=default)
    text = mail.get_content()  # type: ignore[attr-defined]
    assert mail["Subject"] == "Matins: the night to 2026-01-03"
    for line in (
        "Unread: 1 STAT, 9 ROUTINE",
        "Never arrived: 1",
        "Models failed: 3 brain",
        "Unreachable: archive PACS",
    ):
        assert line in text
    assert "CANARY" not in text


@pytest.mark.parametrize("kind", ["hl7", "ups"])
def test_a_worklist_of_others_is_no_place_for_it(kind: str) -> None:
    with pytest.raises(ValueError, match="goes to people"):
        Route.model_validate(
            {"name": "R", "kind": kind, "host": "h", "port": 25, "when": ["digest"]}
            | ({"interface": "worklist"} if kind == "hl7" else {"ae_title": "R"})
        )


def test_the_page_shows_what_is_posted() -> None:
    page = (ROOT / "node/NIGHT.md").read_text()
    blocks = [text.partition("```")[0] for text in page.split("```json\n")[1:]]
    sample = next(json.loads(block) for block in blocks if '"digest"' in block)
    shown = {key: value for key, value in sample.items() if key not in ("event", "id", "at")}
    assert shown == numbers(BODY)
