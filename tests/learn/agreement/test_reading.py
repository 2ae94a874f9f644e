"""What two versions have written into the store is laid beside each other: the same images, these very files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from node.catalogue import Model
from node.domain.feedback import Verdict
from node.domain.finding import MILLILITRE, VOLUME, Code, Finding, Measurement
from node.domain.model_card import Mode, Task
from node.domain.target import Target
from node.domain.work import OutcomeState
from node.imaging.mask import Mask, to_bytes
from node.learn.agreement.reading import agreement
from node.store import artifacts, feedback, findings, outcomes
from node.store.database import Database
from tests.fakes import BRAIN, FakeClock, arrive, model, slice_of

MASS = Code("4147007", "SCT", "Mass")
OLD, NEW = "seer", "seer-next"


def seer(name: str, digest: str) -> Model:
    """A classifier."""
    found = model(Mode.LIVE, name=name, task=Task.CLASSIFICATION, segments=(), volumes=())
    card = replace(found.card, targets=(Target(index=0, label="Mass", code=MASS, operating_point=0.5),))
    return replace(found, card=card, model_digest=digest * 64)


class Store:
    """Studies with outcomes."""

    def __init__(self, db: Database, clock: FakeClock) -> None:
        self.db, self.clock, self.studies = db, clock, 0

    def study(self, patient: str = "") -> str:
        self.studies += 1
        uid = f"1.2.3.{self.studies}"
        arrive(self.db, self.clock.now(), slice_of(1, study=uid, series=f"{uid}.1"))
        with self.db.transaction():
            self.db.execute("UPDATE study SET patient_id = ? WHERE study_instance_uid = ?", (patient, uid))
        return uid

    def result(self, study: str, of: Model, *found: Finding, content: str = "c", state: str = "result") -> int:
        with self.db.transaction():
            number = outcomes.add(
                self.db,
                self.clock.now(),
                study=study,
                revision=1,
                run_number=1,
                model=of.card.name,
                mode=of.mode,
                model_digest=of.model_digest,
                card_digest=of.card_digest,
                series_instance_uid=f"{study}.1",
                content_digest=content,
                series=(),
                state=OutcomeState(state),
            )
            findings.record(self.db, number, found)
        return number

    def mask(self, outcome: int, *places: int) -> None:
        labels = np.zeros((1, 4, 4), np.uint8)
        labels.ravel()[list(places)] = 1
        path = f"masks/{outcome}.npz"
        (self.db.folder / "masks").mkdir(exist_ok=True)
        (self.db.folder / path).write_bytes(to_bytes(Mask(labels, None, ("1",))))
        with self.db.transaction():
            artifacts.record(self.db, self.clock.now(), outcome_id=outcome, kind="mask", path=path, size=1, digest="d")


@pytest.fixture
def store(db: Database, clock: FakeClock) -> Store:
    return Store(db, clock)


def mass(of: Model, score: float) -> Finding:
    return Finding(code=MASS, score=score, present=score >= 0.5, tracking_identifier=f"{of.card.name} Mass")


def test_both_are_compared_where_they_have_read_the_same_images(store: Store) -> None:
    old, new = seer(OLD, "a"), seer(NEW, "b")
    for one, other in ((0.9, 0.8), (0.2, 0.7), (0.1, 0.2)):
        study = store.study()
        store.result(study, old, mass(old, one))
        store.result(study, new, mass(new, other))
    other_content = store.study()
    store.result(other_content, old, mass(old, 0.9))
    store.result(other_content, new, mass(new, 0.1), content="other")
    failed = store.study()
    store.result(failed, old, mass(old, 0.9))
    store.result(failed, new, state="failed")
    told = agreement(store.db, old, new)
    assert (told.in_place, told.beside, told.studies, told.patients) == (OLD, NEW, 3, 3)
    assert told.states == {("result", "result"): 4, ("result", "failed"): 1}
    (found,) = told.compared
    assert found.label == "Mass"
    assert found.decisions is not None
    assert (found.decisions.both, found.decisions.only_beside, found.decisions.neither) == (1, 1, 1)
    assert found.numbers is not None
    assert found.numbers.mean.value == pytest.approx((-0.1 + 0.5 + 0.1) / 3)


def test_what_other_files_of_that_name_have_said_does_not_count(store: Store) -> None:
    old, new = seer(OLD, "a"), seer(NEW, "b")
    study = store.study()
    store.result(study, seer(OLD, "z"), mass(old, 0.9))
    store.result(study, new, mass(new, 0.9))
    assert agreement(store.db, old, new).studies == 0


def test_masks_and_volumes_are_compared_segment_by_segment(store: Store) -> None:
    old = replace(model(Mode.LIVE), model_digest="a" * 64)
    new = replace(model(Mode.SHADOW, name="brain-next"), model_digest="b" * 64)
    for patient, places in (("P1", (1, 2)), ("P1", (1, 2, 3))):
        study = store.study(patient)
        for of, seen, ml in ((old, (1, 2), 2.0), (new, places, float(len(places)))):
            measured = Measurement(quantity=VOLUME, value=ml, unit=MILLILITRE)
            store.mask(store.result(study, of, Finding(code=BRAIN, segment_number=1, measurements=(measured,))), *seen)
    told = agreement(store.db, old, new)
    assert (told.studies, told.patients) == (2, 1)
    (found,) = told.compared
    assert found.label == "Brain"
    assert found.dice is not None
    assert found.dice.value == pytest.approx((1.0 + 0.8) / 2)
    assert found.volumes is not None
    assert found.volumes.mean.value == pytest.approx(0.5)


def test_a_mask_that_is_gone_leaves_the_volumes(store: Store) -> None:
    old = replace(model(Mode.LIVE), model_digest="a" * 64)
    new = replace(model(Mode.SHADOW, name="brain-next"), model_digest="b" * 64)
    study = store.study()
    for of in (old, new):
        measured = Measurement(quantity=VOLUME, value=1.0, unit=MILLILITRE)
        number = store.result(study, of, Finding(code=BRAIN, segment_number=1, measurements=(measured,)))
        store.mask(number, 1)
        (store.db.folder / f"masks/{number}.npz").write_bytes(b"damaged")
    (found,) = agreement(store.db, old, new).compared
    assert found.dice is None
    assert found.studies == 1


@pytest.mark.parametrize(
    ("verdict", "label", "truth"),
    [
        (Verdict.ACCEPT, "", True),
        (Verdict.REJECT, "", False),
        (Verdict.REJECT, "mass", True),
        (Verdict.CORRECTED, "", None),
    ],
)
def test_readers_tell_what_is_true(store: Store, verdict: Verdict, label: str, truth: bool | None) -> None:
    old, new = seer(OLD, "a"), seer(NEW, "b")
    study = store.study()
    number = store.result(study, old, mass(old, 0.9))
    store.result(study, new, mass(new, 0.1))
    with store.db.transaction():
        feedback.add(
            store.db, store.clock.now(), study=study, outcome_id=number, model=OLD, verdict=verdict, given_by="maria",
            label=label,
        )  # fmt: skip
    (found,) = agreement(store.db, old, new).compared
    if truth is None:
        assert found.readers is None
        return
    assert found.readers is not None
    one, other = found.readers.sensitivity_in_place, found.readers.sensitivity_beside
    if not truth:
        one, other = found.readers.specificity_in_place, found.readers.specificity_beside
    assert (one.count, other.count, one.of) == ((1, 0, 1) if truth else (0, 1, 1))
