from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from node.domain.finding import Finding
from node.domain.notice import NoticeState
from node.domain.retrieval import Purpose, RetrievalState
from node.domain.scheduled import Scheduled
from node.domain.told import ToldOrder
from node.domain.work import OutcomeState
from node.store import digests, expected_studies, outcomes, retrievals
from node.store.database import Database
from node.workflow import digest, ordered
from node.workflow.waits import mark_long_waits
from tests.fakes import BRAIN, PATIENT, FakeClock
from tests.workflow.nights import Night, night

DAY = date(2026, 1, 3)


@pytest.fixture
def site(db: Database, clock: FakeClock) -> Night:
    return night(db, clock)


def told(site: Night) -> digest.Body:
    return digest.gathered(site.db, site.clock.now(), site.policy, DAY)


def test_a_quiet_night_leaves_nothing_to_look_at(site: Night) -> None:
    assert digest.urgent_count(told(site)) == 0


def test_it_says_what_moved_and_why(site: Night) -> None:
    uid, plain = site.study(), site.study()
    site.clock.forward(25 * 3600)
    first = told(site)
    with site.db.transaction():
        digest.keep(site.db, site.clock.now(), site.policy, DAY, first)
    site.clock.forward(60)
    order = ToldOrder(study_instance_uid=uid, priority="HIGH")
    with site.db.transaction():
        ordered.take(site.db, site.clock.now(), site.policy, PATIENT, order, at="", told_by="hl7 RIS")
    (moved,) = told(site)["moved"]
    assert (moved["study_instance_uid"], moved["is_new"]) == (uid, False)
    assert (moved["before"].split()[0], moved["after"].split()[0]) == ("ROUTINE", "URGENT")
    stat = site.study(requested_priority="STAT")
    moved = told(site)["moved"]
    assert moved[0]["study_instance_uid"] == stat
    assert moved[0]["is_new"]
    assert moved[0]["why"]
    assert plain not in {each["study_instance_uid"] for each in moved}


def test_it_says_what_failed_what_waits_and_who_cannot_be_reached(site: Night) -> None:
    site.study(found=None)
    with site.db.transaction():
        made = retrievals.record(site.db, site.clock.now(), "1.2.9", "PACS", Purpose.PRIOR)
        retrievals.move(site.db, site.clock.now(), made.id, RetrievalState.RETRIEVING)
        retrievals.move(site.db, site.clock.now(), made.id, RetrievalState.REQUESTED, "nobody answers")
        other = retrievals.record(site.db, site.clock.now(), "1.2.8", "PACS", Purpose.PRIOR)
        retrievals.move(site.db, site.clock.now(), other.id, RetrievalState.FAILED, "refused")
    body = told(site)
    assert [(each["model"], each["number"]) for each in body["failed"]["models"]] == [("brain", 1)]
    assert [(each["peer"], each["reason"]) for each in body["failed"]["retrievals"]] == [("PACS", "refused")]
    assert {"what": "archive PACS", "reason": "nobody answers"} in body["unreachable"]
    assert digest.urgent_count(body) >= 3


def test_it_says_who_waits_longest_and_too_long(site: Night) -> None:
    uid = site.study(requested_priority="STAT")
    site.clock.forward(2 * 3600)
    mark_long_waits(site.db, site.clock.now(), site.policy)
    (wait,) = told(site)["longest_waits"]
    assert (wait["study_instance_uid"], wait["lane"]) == (uid, "STAT")
    assert wait["waits_min"] >= 120
    assert wait["too_long"]


def test_it_says_which_models_have_not_read(site: Night) -> None:
    uid = site.study()
    (outcome,) = outcomes.current(site.db, uid)
    with site.db.transaction():
        site.db.execute("UPDATE outcome SET state = ? WHERE id = ?", (OutcomeState.PENDING, outcome.id))
    assert [(each["model"], each["number"]) for each in told(site)["pending"]] == [("brain", 1)]


def test_who_never_came_is_told_once_and_only_when_the_time_is_long_over(site: Night) -> None:
    awaited = Scheduled(
        study_instance_uid="1.2.77",
        peer="RIS",
        patient=PATIENT,
        accession_number="A77",
        scheduled_at=datetime(2026, 1, 2, 8, tzinfo=UTC),
    )
    with site.db.transaction():
        expected_studies.record(site.db, site.clock.now(), awaited)
    site.clock.wall = datetime(2026, 1, 2, 11, tzinfo=UTC)
    assert told(site)["never_arrived"] == []
    site.clock.wall = datetime(2026, 1, 3, 5, tzinfo=UTC)
    body = told(site)
    assert [each["study_instance_uid"] for each in body["never_arrived"]] == ["1.2.77"]
    assert body["expected"] == {"expected": 1, "came": 0, "cancelled": 0}
    with site.db.transaction():
        digest.keep(site.db, site.clock.now(), site.policy, DAY, body)
    assert told(site)["never_arrived"] == []


def test_it_names_nothing_of_a_patient(site: Night) -> None:
    site.study(requested_priority="STAT", found=None)
    awaited = Scheduled(
        study_instance_uid="1.2.77",
        peer="RIS",
        patient=PATIENT,
        accession_number="A77",
        scheduled_at=datetime(2026, 1, 1, 8, tzinfo=UTC),
    )
    with site.db.transaction():
        expected_studies.record(site.db, site.clock.now(), awaited)
    text = str(told(site))
    for secret in (PATIENT.name, "Doe", f"'{PATIENT.patient_id}'", PATIENT.birth_date, "A77"):
        assert secret not in text


def test_routes_that_want_it_get_a_letter_and_a_newer_one_takes_its_place(site: Night) -> None:
    hook = {"name": "HOOK", "kind": "webhook", "url": "https://h.example.org", "secret_file": "s", "when": ["digest"]}
    mail = {"name": "PLAIN", "kind": "webhook", "url": "https://h.example.org", "secret_file": "s"}
    settings = site.policy.settings.model_dump() | {"routes": [hook, mail]}
    site.policy = replace(site.policy, settings=site.policy.settings.model_validate(settings))
    for day in (DAY, date(2026, 1, 4)):
        with site.db.transaction():
            digest.keep(site.db, site.clock.now(), site.policy, day, told(site))
        site.clock.forward(60)
    states = {
        (each.day, each.route): each.state for day in digests.days(site.db, 5) for each in digests.letters(site.db, day)
    }
    assert states == {
        (date(2026, 1, 4), "HOOK"): NoticeState.QUEUED,
        (DAY, "HOOK"): NoticeState.SUPERSEDED,
    }


def test_a_finding_that_nobody_has_acknowledged_is_told(site: Night) -> None:
    from node.domain.acknowledgement import FindingKey
    from node.domain.priority import Lane
    from node.store import acknowledgements

    uid = site.study(found=True)
    found = Finding(code=BRAIN, present=True)
    key = FindingKey(model="brain", code_scheme=found.code.scheme, code_value=found.code.value, thing="")
    with site.db.transaction():
        acknowledgements.ask(
            site.db,
            site.clock.now(),
            uid,
            key,
            found.code,
            lane=Lane.STAT,
            asked_by="rule",
            asked_s=0.0,
            due_at="",
        )
    (each,) = told(site)["unacknowledged"]
    assert (each["study_instance_uid"], each["lane"], each["finding"]) == (uid, "STAT", "Brain")
