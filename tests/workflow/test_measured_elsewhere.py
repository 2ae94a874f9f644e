"""Sizes that others have measured on a prior: shown beside ours, and never compared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.uid import EnhancedSRStorage, SegmentationStorage

from node.domain.finding import Code, Finding
from node.domain.prior_document import PriorDocument, PriorFinding
from node.domain.study import Order, StudyState
from node.domain.work import WorkKind
from node.store import studies, work_items
from node.store.database import Database
from node.workflow import prior_reading, rank_facts
from node.workflow.closing import close_due
from node.workflow.story import study_story
from tests.fakes import FakeClock, arrive, model, policy, slice_of, volume_finding
from tests.workflow.test_comparing import BEFORE, NOW, measured, read

OTHER = PriorDocument(made_by="Siemens syngo.via", completion="COMPLETE")


def reported(
    db: Database,
    clock: FakeClock,
    *found: PriorFinding,
    number: int = 9,
    ours: bool = False,
    sop_class_uid: str = EnhancedSRStorage,
) -> None:
    """A prior with images that no model of ours has read, and a report on it that tells these findings."""
    order = Order(study_date="20251231")
    arrive(db, clock.now(), slice_of(1, study=BEFORE, series=f"{BEFORE}.1", order=order), retrieved=True)
    told = slice_of(
        number, study=BEFORE, series=f"{BEFORE}.9", order=order, sop_class_uid=sop_class_uid, modality="SR",
        plane=None, pixels=None,
    )  # fmt: skip
    arrive(db, clock.now(), told, retrieved=True)
    if ours:
        with db.transaction():
            db.execute("UPDATE instance SET ours = 1 WHERE sop_instance_uid = ?", (told.sop_instance_uid,))
    with db.transaction():
        studies.request_closing(db, BEFORE)
    used = policy(model())
    close_due(db, clock.forward(1), used)
    for item in work_items.claim(db, clock.now(), WorkKind.READ_PRIOR, "report:1", 60, limit=9):
        reading = prior_reading.begin(db, item)
        assert reading is not None
        with db.transaction():
            prior_reading.complete(db, clock.now(), used, item, reading, replace(OTHER, findings=found))


def told(db: Database) -> list[tuple[float | None, float | None, str, str]]:
    story = study_story(db, NOW)
    assert story is not None
    return [(each["before"], each["after"], each["verdict"], each["reason"]) for each in story["changes"]]


def of_other(volume_ml: float, **more: str) -> PriorFinding:
    finding = replace(volume_finding(volume_ml), segment_number=None, laterality=None)
    return PriorFinding(finding=finding, **more)


def test_what_another_has_measured_is_shown_beside_ours_and_ranks_nothing(db: Database, clock: FakeClock) -> None:
    reported(db, clock, of_other(1180.0, algorithm="BrainMeter 3"))
    read(db, clock, NOW, "20260101", measured(1439.0))
    assert told(db) == [(1180.0, 1439.0, "not comparable", "made by BrainMeter 3")]
    row = studies.study(db, NOW)
    assert row is not None
    assert rank_facts.facts_of(db, [row])[NOW].changes == ()


@pytest.mark.parametrize(
    ("ours", "more", "maker"),
    [
        (False, {}, "Siemens syngo.via"),
        (True, {"model_digest": "a" * 64, "card_digest": "b" * 64, "algorithm": "brain"}, "brain in another version"),
        (False, {"model_digest": "a" * 64, "algorithm": "brain"}, "brain"),
    ],
    ids=["a device", "ours of old", "one that says it is ours"],
)
def test_it_says_who_has_made_it(db: Database, clock: FakeClock, ours: bool, more: dict[str, str], maker: str) -> None:
    reported(db, clock, of_other(1180.0, **more), ours=ours)
    read(db, clock, NOW, "20260101", measured(1439.0))
    assert told(db) == [(1180.0, 1439.0, "not comparable", f"made by {maker}")]


def test_two_of_a_kind_or_another_unit_are_beside_nothing(db: Database, clock: FakeClock) -> None:
    (size,) = volume_finding(1.18).measurements
    litres = replace(size, unit=Code("L", "UCUM", "L"))
    in_litres = PriorFinding(finding=Finding(code=volume_finding().code, measurements=(litres,)))
    reported(db, clock, of_other(1.0), of_other(2.0))
    reported(db, clock, in_litres, number=10)
    read(db, clock, NOW, "20260101", measured(1439.0))
    assert told(db) == []


def test_a_prior_that_may_be_another_patients_shows_nothing(db: Database, clock: FakeClock) -> None:
    reported(db, clock, of_other(1180.0))
    read(db, clock, NOW, "20260101", measured(1439.0))
    with db.transaction():
        studies.move(db, clock.now(), BEFORE, StudyState.HELD, "a conflict")
    assert told(db) == []


def test_of_a_mask_it_says_that_its_volume_was_counted_here(db: Database, clock: FakeClock) -> None:
    reported(db, clock, of_other(1180.0, algorithm="OtherNet"), sop_class_uid=SegmentationStorage)
    read(db, clock, NOW, "20260101", measured(1439.0))
    assert told(db) == [(1180.0, 1439.0, "not comparable", "made by OtherNet, whose mask was counted here")]
