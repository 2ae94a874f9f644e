from __future__ import annotations

from dataclasses import replace

import pytest

from node.config import Settings
from node.domain.notice import NoticeKind
from node.domain.report_state import ReportState
from node.domain.study import StudyState
from node.store import events, notices, studies
from node.store.database import Database, open_database
from node.workflow import acknowledging, listing, reported
from node.workflow.escalating import escalate
from tests.fakes import STUDY, FakeClock
from tests.notices import bleed, closed, leave, read
from tests.workflow.test_acknowledging import final, state
from tests.workflow.urgent import rows, watched, with_blood

MIN = 60.0


def alerts(db: Database) -> list[tuple[str, str, str]]:
    """Route, kind and why of each notice that is more than news of the place."""
    return [
        (each.route, each.flag.kind.value, each.because)
        for each in notices.of_study(db, STUDY)
        if each.flag.kind is not NoticeKind.RANK
    ]


def test_each_step_is_told_once_in_its_order(db: Database, clock: FakeClock) -> None:
    policy = watched()
    with_blood(db, clock, policy)
    assert escalate(db, clock.forward(14 * MIN), policy) == 0
    assert escalate(db, clock.forward(1 * MIN + 1), policy) == 1
    assert escalate(db, clock.forward(5 * MIN), policy) == 0
    assert escalate(db, clock.forward(10 * MIN), policy) == 1
    assert escalate(db, clock.forward(1000 * MIN), policy) == 0
    assert alerts(db) == [
        ("PAGER", "escalation", "not acknowledged for 15 min: Hemorrhage [brain]"),
        ("RIS", "escalation", "not acknowledged for 30 min: Hemorrhage [brain]"),
    ]


def test_what_nobody_has_seen_in_time_is_overdue_and_says_so_once(db: Database, clock: FakeClock) -> None:
    policy = watched(escalation=[])
    with_blood(db, clock, policy)
    for _ in range(3):
        escalate(db, clock.forward(16 * MIN), policy)
    assert state(db)["state"] == "overdue"
    assert [each.after for each in events.of_study(db, STUDY) if each.about == "acknowledgement"] == ["due", "overdue"]


def test_an_acknowledgement_ends_the_escalation_and_stops_what_waits(db: Database, clock: FakeClock) -> None:
    policy = watched()
    with_blood(db, clock, policy)
    escalate(db, clock.forward(16 * MIN), policy)
    pager = next(each for each in notices.of_study(db, STUDY) if each.route == "PAGER")
    assert listing.gate(db, policy, pager).is_open
    acknowledging.acknowledge(db, clock.now(), STUDY, by="maria")
    gate = listing.gate(db, policy, pager)
    assert (gate.state, gate.reason) == ("superseded", "somebody has seen to it")
    assert escalate(db, clock.forward(100 * MIN), policy) == 0


def test_a_worklist_is_told_where_the_study_stands_though_somebody_came(db: Database, clock: FakeClock) -> None:
    policy = watched()
    with_blood(db, clock, policy)
    escalate(db, clock.forward(31 * MIN), policy)
    acknowledging.acknowledge(db, clock.now(), STUDY, by="maria")
    waiting = notices.waiting_of(db, "RIS")
    assert [each.flag.kind for each in waiting] == ["escalation"]
    assert listing.gate(db, policy, waiting[0]).is_open


def test_news_of_the_place_does_not_swallow_an_alert_that_has_not_left(db: Database, clock: FakeClock) -> None:
    policy = watched()
    with_blood(db, clock, policy)
    escalate(db, clock.forward(31 * MIN), policy)
    (before,) = notices.waiting_of(db, "RIS")
    from node.workflow import pinning

    pinning.pin(db, clock.now(), policy, STUDY, lane=None, by="otto", why="the surgeon waits")
    (after,) = notices.waiting_of(db, "RIS")
    assert after.flag.kind == "escalation"
    assert before.because in after.because


@pytest.mark.parametrize("quiet", ["final", "held", "prior", "shadow"])
def test_reported_held_and_earlier_studies_and_shadow_models_are_quiet(
    db: Database, clock: FakeClock, quiet: str
) -> None:
    policy = watched()
    with_blood(db, clock, policy)
    if quiet == "final":
        final(db, clock, policy)
    else:
        with db.transaction():
            if quiet == "held":
                studies.move(db, clock.now(), STUDY, StudyState.HELD, "two patients")
            elif quiet == "prior":
                studies.record_prior(db, STUDY, "made long ago")
    if quiet == "shadow":
        policy = watched(mode="shadow")
    assert escalate(db, clock.forward(500 * MIN), policy) == 0
    assert alerts(db) == []
    assert not rows(db)[0].overdue


def test_a_preliminary_report_does_not_end_it(db: Database, clock: FakeClock) -> None:
    policy = watched()
    with_blood(db, clock, policy)
    with db.transaction():
        reported.record(db, clock.now(), policy, STUDY, ReportState.PRELIMINARY, told_by="maria")
    assert escalate(db, clock.forward(16 * MIN), policy) == 1


def test_a_wall_clock_that_is_set_takes_no_step_early_or_twice(db: Database, clock: FakeClock) -> None:
    from datetime import timedelta

    policy = watched()
    with_blood(db, clock, policy)
    clock.wall += timedelta(days=2)
    assert escalate(db, clock.forward(1 * MIN), policy) == 0
    clock.wall -= timedelta(days=9)
    assert escalate(db, clock.forward(1 * MIN), policy) == 0
    assert escalate(db, clock.forward(14 * MIN), policy) == 1
    assert escalate(db, clock.forward(1 * MIN), policy) == 0


def test_a_reboot_loses_no_step_and_takes_none_twice(db: Database, clock: FakeClock) -> None:
    policy = watched()
    with_blood(db, clock, policy)
    assert escalate(db, clock.forward(16 * MIN), policy) == 1
    clock.reboot()
    again = open_database(db.folder, "clock")
    assert escalate(again, clock.forward(1 * MIN), policy) == 0
    assert escalate(again, clock.forward(15 * MIN), policy) == 1
    again.close()
    assert [route for route, _, _ in alerts(db)] == ["PAGER", "RIS"]


def test_a_reboot_with_a_clock_of_long_ago_delays_no_step(db: Database, clock: FakeClock) -> None:
    from datetime import timedelta

    policy = watched()
    closed(db, clock, policy)
    clock.forward(10_000 * MIN)
    read(db, clock, policy, bleed())
    clock.reboot()
    clock.wall -= timedelta(days=900)
    assert escalate(db, clock.forward(16 * MIN), policy) == 1


def test_a_route_that_the_source_does_not_list_is_told_nothing_and_that_is_seen(db: Database, clock: FakeClock) -> None:
    policy = watched(flags_to=("RIS",))
    with_blood(db, clock, policy)
    assert escalate(db, clock.forward(16 * MIN), policy) == 0
    assert alerts(db) == []
    assert any(each.after == "not told" and "does not list PAGER" in each.reason for each in events.of_study(db, STUDY))


def test_several_findings_of_one_study_are_one_alert(db: Database, clock: FakeClock) -> None:
    policy = watched()
    with_blood(db, clock, policy, bleed(), replace(bleed(), lesion_number=1, tracking_uid="2.25.1"))
    assert escalate(db, clock.forward(16 * MIN), policy) == 1


def test_a_discrepancy_has_an_escalation_of_its_own_that_passes_the_gate(db: Database, clock: FakeClock) -> None:
    policy = watched()
    closed(db, clock, policy)
    final(db, clock, policy)
    read(db, clock, policy, bleed())
    assert escalate(db, clock.forward(16 * MIN), policy) == 1
    assert alerts(db) == [
        ("PAGER", "discrepancy", "found after the report, and not seen to for 15 min: Hemorrhage [brain]")
    ]
    notice = leave(db, clock, route="PAGER")
    assert listing.gate(db, policy, notice).is_open
    from node.workflow import discrepancies

    discrepancies.close(db, clock.now(), rows(db)[0].id, by="maria", because="addendum")
    assert listing.gate(db, policy, notice).state == "superseded"
    assert escalate(db, clock.forward(500 * MIN), policy) == 0


def test_an_escalation_names_routes_that_there_are_one_after_the_other() -> None:
    with pytest.raises(ValueError, match="names no route: NOBODY"):
        Settings.model_validate({"acknowledge": {"escalation": [{"after_min": 5, "route": "NOBODY"}]}})
    steps = [{"after_min": 5, "route": "A"}, {"after_min": 4, "route": "A"}]
    with pytest.raises(ValueError, match="in the order of after_min"):
        Settings.model_validate({"acknowledge": {"escalation": steps}})


def test_nothing_of_the_patient_is_said_in_an_alert_that_the_route_does_not_say(db: Database, clock: FakeClock) -> None:
    policy = watched()
    with_blood(db, clock, policy)
    escalate(db, clock.forward(16 * MIN), policy)
    from node.config import Route
    from node.deliver.route import letter_of
    from node.deliver.routes import email

    route = policy.settings.route_named("PAGER")
    assert isinstance(route, Route)
    text = email.message(route, letter_of(route, leave(db, clock, route="PAGER"), clock))
    from email import message_from_bytes
    from email.policy import SMTP

    mail = message_from_bytes(text, policy=SMTP)
    words = f"{mail['Subject']} {mail.get_content()}"  # type: ignore[attr-defined]
    assert "CANARY" not in words
    assert "not acknowledged for 15 min" in words
