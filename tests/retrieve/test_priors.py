from __future__ import annotations

from dataclasses import replace

import pytest

from node.commands import prior_lines
from node.config import Settings
from node.config.priors import PriorSelector
from node.domain.patient import Patient
from node.domain.retrieval import Purpose, RetrievalState, Wanted
from node.domain.study import Order
from node.domain.work import WorkKind, WorkState
from node.errors import Failed, Transient
from node.loop import work_step
from node.retrieve.found import FoundSeries, FoundStudy
from node.retrieve.priors import Priors
from node.retrieve.question import Reply, SeriesQuery, StudyQuery
from node.store import events, retrievals, studies, work_items
from node.store.database import Database
from node.workflow import merging, prefetch
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from node.workflow.story import study_story
from tests.fakes import PATIENT, STUDY, FakeClock, arrive, slice_of
from tests.retrieve.conftest import settings_for

TODAY = Order(study_date="20260101", study_time="120000")


def settings(db: Database, **retrieve: object) -> Settings:
    made = settings_for(db, 4242)
    return Settings.model_validate(
        made.model_dump() | {"retrieve": {"priors": 2} | retrieve, "completeness": {"default": {"max_age_days": 0}}}
    )


def found(number: int, date: str = "20250601", **changes: object) -> FoundStudy:
    study = FoundStudy(study_instance_uid=f"1.2.9.{number}", patient=PATIENT, study_date=date, modalities=("MR",))
    return replace(study, **changes)  # type: ignore[arg-type]


class Archive:
    """Stands for the process that asks."""

    def __init__(self, *studies: FoundStudy, error: Exception | None = None, disbelieved: int = 0) -> None:
        self.reply = Reply(studies=studies, disbelieved={"another patient": disbelieved} if disbelieved else {})
        self.error = error
        self.asked: list[StudyQuery] = []

    def __call__(self, query: StudyQuery) -> Reply:
        self.asked.append(query)
        if self.error is not None:
            raise self.error
        return self.reply


def closed(db: Database, clock: FakeClock, made: Settings, patient: Patient = PATIENT, order: Order = TODAY) -> None:
    arrive(db, clock.now(), slice_of(1, patient=patient, order=order))
    with db.transaction():
        studies.request_closing(db, STUDY)
    close_due(db, clock.forward(1), Policy(made, (), ()))


def step(db: Database, clock: FakeClock, made: Settings, archive: Archive) -> bool:
    return work_step(db, clock, Priors(db, clock, made, archive).handling())()


def wanted(db: Database) -> list[str]:
    return [each.study_instance_uid for each in retrievals.wanted_for(db, STUDY)]


def test_nothing_is_asked_unless_a_site_wants_priors(db: Database, clock: FakeClock) -> None:
    closed(db, clock, settings(db, priors=0))
    assert work_items.state(db, WorkKind.PRIORS, STUDY) is None


@pytest.mark.parametrize("patient_id", ["", "UNKNOWN", "P*", "anonymous", "0"])
def test_nothing_is_ever_asked_for_a_patient_who_is_not_identified(
    db: Database, clock: FakeClock, patient_id: str
) -> None:
    made, archive = settings(db), Archive(found(1))
    closed(db, clock, made, replace(PATIENT, patient_id=patient_id))
    assert work_items.state(db, WorkKind.PRIORS, STUDY) is None
    with db.transaction():
        work_items.add(db, clock.now(), WorkKind.PRIORS, STUDY, STUDY)
    step(db, clock, made, archive)
    assert archive.asked == []


def test_a_prior_has_no_priors_fetched(db: Database, clock: FakeClock) -> None:
    with db.transaction():
        made = retrievals.record(db, clock.now(), STUDY, "SCANNER", Purpose.PRIOR)
        db.execute("UPDATE retrieval SET started_at = 'x' WHERE id = ?", (made.id,))
    closed(db, clock, settings(db))
    assert work_items.state(db, WorkKind.PRIORS, STUDY) is None


def test_the_newest_priors_of_the_patient_are_fetched(db: Database, clock: FakeClock) -> None:
    made = settings(db)
    archive = Archive(found(1, "20240101"), found(2, "20250601"), found(3, "20251224"), found(4, "20230101"))
    closed(db, clock, made)
    assert step(db, clock, made, archive)
    assert wanted(db) == ["1.2.9.3", "1.2.9.2"]
    assert {each.purpose for each in retrievals.wanted_for(db, STUDY)} == {Purpose.PRIOR}
    (query,) = archive.asked
    assert (query.keys.patient_id, query.keys.since, query.keys.until) == ("P1", "20210102", "20260101")
    assert work_items.state(db, WorkKind.PRIORS, STUDY) is WorkState.FINISHED


def test_a_merged_patient_is_asked_for_under_every_id(db: Database, clock: FakeClock) -> None:
    made, survivor = settings(db), replace(PATIENT, patient_id="P9")
    archive = Archive(found(1, patient=survivor), found(2, "20250602", patient=replace(PATIENT, patient_id="P7")))
    closed(db, clock, made)
    with db.transaction():
        merging.merge(db, clock.now(), Policy(made, (), ()), PATIENT, survivor, told_by="hl7 RIS")
    assert step(db, clock, made, archive)
    assert [query.keys.patient_id for query in archive.asked] == ["P1", "P9"]
    assert wanted(db) == ["1.2.9.1"]


@pytest.mark.parametrize(
    "other",
    [
        found(1, "20260101", study_time="130000"),
        found(1, "20260102"),
        found(1, ""),
        found(1, "20200101"),
        found(1, modalities=("CT",)),
        found(1, modalities=()),
        found(1, study_instance_uid=STUDY),
    ],
)
def test_what_is_no_prior_is_left_where_it_is(db: Database, clock: FakeClock, other: FoundStudy) -> None:
    made = settings(db)
    closed(db, clock, made)
    step(db, clock, made, Archive(other))
    assert wanted(db) == []


def test_an_earlier_study_of_the_same_day_is_a_prior_and_any_modality_where_a_site_wants_it(
    db: Database, clock: FakeClock
) -> None:
    made = settings(db, priors_modalities="any")
    closed(db, clock, made)
    step(db, clock, made, Archive(found(1, "20260101", study_time="0900", modalities=("CT",))))
    assert wanted(db) == ["1.2.9.1"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"birth_date": "19710101"}, "birth date differs"),
        ({"sex": "M"}, "sex differs"),
        ({"issuer": "B"}, "Issuer of Patient ID differs"),
        ({"issuer": ""}, "only one side tells it"),
        ({"patient_id": "P2"}, "Patient ID differs"),
    ],
)
def test_a_study_that_may_be_another_persons_is_not_fetched_and_an_event_says_why(
    db: Database, clock: FakeClock, changes: dict[str, str], words: str
) -> None:
    made = settings(db)
    closed(db, clock, made)
    step(db, clock, made, Archive(found(1, patient=replace(PATIENT, **changes)), found(2)))
    assert wanted(db) == ["1.2.9.2"]
    (told,) = [event for event in events.of_study(db, STUDY) if event.after == "not fetched"]
    assert told.subject == "1.2.9.1"
    assert words in told.reason
    assert not {"P1", "P2", "19700101", "19710101"} & set(told.reason.split())


def test_the_archives_issuer_counts_where_its_answers_tell_none(db: Database, clock: FakeClock) -> None:
    made = settings(db)
    peers = tuple(peer.model_copy(update={"issuer": "A"}) for peer in made.peers)
    made = made.model_copy(update={"peers": peers})
    closed(db, clock, made)
    step(db, clock, made, Archive(found(1, patient=replace(PATIENT, issuer=""))))
    assert wanted(db) == ["1.2.9.1"]


def test_a_prior_that_is_here_counts_and_is_not_fetched(db: Database, clock: FakeClock) -> None:
    made = settings(db, priors=1)
    arrive(db, clock.now(), slice_of(1, study="1.2.9.3", series="1.2.9.3.1"))
    closed(db, clock, made)
    step(db, clock, made, Archive(found(2, "20240101"), found(3, "20251224")))
    assert wanted(db) == []


def test_a_study_without_a_date_has_no_priors(db: Database, clock: FakeClock) -> None:
    made, archive = settings(db), Archive(found(1))
    closed(db, clock, made, order=Order())
    step(db, clock, made, archive)
    assert archive.asked == []
    assert work_items.state(db, WorkKind.PRIORS, STUDY) is WorkState.FINISHED


def test_an_archive_that_is_away_is_asked_three_times(db: Database, clock: FakeClock) -> None:
    made, archive = settings(db), Archive(error=Transient("nobody answers"))
    closed(db, clock, made)
    for _ in range(3):
        assert step(db, clock, made, archive)
        clock.forward(60)
    assert not step(db, clock, made, archive)
    assert len(archive.asked) == 3
    assert work_items.state(db, WorkKind.PRIORS, STUDY) is WorkState.FINISHED


def test_an_archive_that_refuses_or_lies_is_told_of(db: Database, clock: FakeClock) -> None:
    made = settings(db)
    closed(db, clock, made)
    step(db, clock, made, Archive(found(1), disbelieved=7))
    assert wanted(db) == ["1.2.9.1"]
    reasons = [event.reason for event in events.of_study(db, STUDY) if event.after == "not fetched"]
    assert reasons == ["7 answer(s) not believed: another patient"]


def test_a_refusal_ends_the_search(db: Database, clock: FakeClock) -> None:
    made = settings(db)
    closed(db, clock, made)
    step(db, clock, made, Archive(error=Failed("more than 200 studies match")))
    assert wanted(db) == []
    row = db.row("SELECT reason FROM work_item WHERE kind = 'priors'")
    assert row is not None
    assert "more than 200" in row["reason"]


def test_priors_are_asked_for_once_a_study(db: Database, clock: FakeClock) -> None:
    made, archive = settings(db), Archive()
    closed(db, clock, made)
    step(db, clock, made, archive)
    arrive(db, clock.now(), slice_of(2, order=TODAY))
    with db.transaction():
        studies.request_closing(db, STUDY)
    close_due(db, clock.forward(1), Policy(made, (), ()))
    assert not step(db, clock, made, archive)
    assert len(archive.asked) == 1


@pytest.mark.parametrize(
    ("hours", "hour", "wait_s"),
    [
        ("", 12, 0.0),
        ("22:00-06:00", 23, 0.0),
        ("22:00-06:00", 3, 0.0),
        ("22:00-06:00", 6, 16 * 3600.0),
        ("22:00-06:00", 21, 3600.0),
        ("01:00-05:00", 0, 3600.0),
        ("01:00-05:00", 4, 0.0),
        ("01:00-05:00", 5, 20 * 3600.0),
    ],
)
def test_priors_wait_for_their_hours(db: Database, clock: FakeClock, hours: str, hour: int, wait_s: float) -> None:
    made = settings(db, priors_between=hours)
    clock.wall = clock.wall.astimezone().replace(hour=hour, minute=0, second=0, microsecond=0)
    assert prefetch.wait_s(clock.now(), made, Purpose.PRIOR) == wait_s
    assert prefetch.wait_s(clock.now(), made, Purpose.ASKED) == 0.0


def chosen(db: Database, *selectors: dict[str, object]) -> Settings:
    made = settings(db, priors=0)
    written = tuple(PriorSelector.model_validate(each) for each in selectors)
    return made.model_copy(update={"retrieve": made.retrieve.model_copy(update={"select": written})})


class Listing(Archive):
    """Tells the body part of each study, too."""

    parts: dict[str, str]

    def __call__(self, query: StudyQuery | SeriesQuery) -> Reply:
        if isinstance(query, SeriesQuery):
            uid = query.study_instance_uid
            return Reply(series=(FoundSeries(series_instance_uid=f"{uid}.1", body_part=self.parts.get(uid, "")),))
        return super().__call__(query)


def test_a_selector_takes_the_body_part_and_the_series_that_it_is_for(db: Database, clock: FakeClock) -> None:
    head = {"name": "head", "body_part": ["HEAD"], "series_modalities": ["MR"], "count": 1}
    made, archive = chosen(db, head), Listing(found(1, "20250801"), found(2))
    archive.parts = {"1.2.9.1": "KNEE", "1.2.9.2": "HEAD"}
    closed(db, clock, made)
    assert step(db, clock, made, archive)
    (asked,) = retrievals.wanted_for(db, STUDY)
    assert (asked.study_instance_uid, asked.wanted) == ("1.2.9.2", Wanted(modalities=("MR",)))


def test_what_became_of_every_candidate_is_kept_and_told(db: Database, clock: FakeClock) -> None:
    other = replace(PATIENT, birth_date="19551224")
    archive = Archive(found(1), found(2, modalities=("CT",)), found(3, patient=other), found(4, "20240101"))
    made = settings(db, priors=1)
    closed(db, clock, made)
    step(db, clock, made, archive)
    story = study_story(db, STUDY)
    assert story is not None
    told = {each["study_instance_uid"]: (each["standing"], each["reason"]) for each in story["prior_candidates"]}
    assert told == {
        "1.2.9.1": ("taken", "priors"),
        "1.2.9.2": ("not taken", "priors: of another modality, or none told"),
        "1.2.9.3": ("candidate, unconfirmed", "birth date differs"),
        "1.2.9.4": ("not taken", "priors: 1 others come first"),
    }
    said = [line for _, line in prior_lines.lines(story)]
    assert "20250601 MR taken: priors  [1.2.9.1 at SCANNER]" in said


def test_a_study_that_no_selector_is_meant_for_has_no_priors_asked(db: Database, clock: FakeClock) -> None:
    ct = {"name": "ct", "when": {"field": "modality", "op": "is", "value": "CT"}}
    made, archive = chosen(db, ct), Archive(found(1))
    closed(db, clock, made)
    step(db, clock, made, archive)
    assert archive.asked == []
    assert work_items.state(db, WorkKind.PRIORS, STUDY) is WorkState.FINISHED


def test_of_a_prior_that_is_here_in_part_more_is_fetched_where_more_is_wanted(db: Database, clock: FakeClock) -> None:
    made, archive = settings(db, priors=1), Archive(found(1))
    arrive(db, clock.now(), slice_of(1, study="1.2.9.1", series="1.2.9.1.1"))
    with db.transaction():
        part = retrievals.record(
            db, clock.now(), "1.2.9.1", "SCANNER", Purpose.PRIOR, wanted=Wanted(modalities=(), results=True)
        )
        retrievals.move(db, clock.now(), part.id, RetrievalState.RETRIEVING)
        retrievals.move(db, clock.now(), part.id, RetrievalState.RETRIEVED)
    closed(db, clock, made)
    step(db, clock, made, archive)
    assert wanted(db) == ["1.2.9.1"]
