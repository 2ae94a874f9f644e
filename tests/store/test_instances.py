from __future__ import annotations

from node.store import events, instances, studies
from node.store.database import Database
from tests.fakes import SERIES, SR, STUDY, FakeClock, arrive, slice_of


def test_the_same_bytes_are_held_once(db: Database, clock: FakeClock) -> None:
    assert arrive(db, clock.now(), slice_of(1))
    assert not arrive(db, clock.now(), slice_of(1))
    assert len(instances.of_study(db, STUDY)) == 1


def test_a_description_is_read_back_as_it_was(db: Database, clock: FakeClock) -> None:
    arrive(db, clock.now(), slice_of(1, repetition_time_ms=8.5))
    (held,) = instances.of_study(db, STUDY)
    assert held.instance == slice_of(1, repetition_time_ms=8.5)
    assert held.readable


def test_other_bytes_under_one_uid_become_current_and_both_are_kept(db: Database, clock: FakeClock) -> None:
    arrive(db, clock.now(), slice_of(1))
    arrive(db, clock.now(), slice_of(1, content="new"), version="2")
    (current,) = instances.of_study(db, STUDY)
    assert current.content_digest == "new"
    assert len(instances.of_study(db, STUDY, current_only=False)) == 2
    assert any(event.after == "version" for event in events.of_study(db, STUDY))


def test_a_lossy_copy_never_replaces_a_lossless_one(db: Database, clock: FakeClock) -> None:
    arrive(db, clock.now(), slice_of(1, content="lossless"))
    arrive(db, clock.now(), slice_of(1, content="lossy"), version="2", lossy=True)
    (current,) = instances.of_study(db, STUDY)
    assert current.content_digest == "lossless"


def test_documents_neither_reopen_a_study_nor_lengthen_its_quiet_time(db: Database, clock: FakeClock) -> None:
    first = clock.now()
    arrive(db, first, slice_of(1))
    with db.transaction():
        studies.record_closing(db, first, STUDY, "quiet", revision=1)
    later = clock.forward(100)
    arrive(db, later, slice_of(9, series="1.2.3.1.9", sop_class_uid=SR))
    study = studies.study(db, STUDY)
    assert study is not None
    assert not study.open
    assert study.last_received == first
    arrive(db, later, slice_of(2))
    study = studies.study(db, STUDY)
    assert study is not None
    assert study.open
    assert study.opened == study.last_received == later
    assert study.first_received == first


def test_our_own_results_coming_back_are_not_readable(db: Database, clock: FakeClock) -> None:
    arrive(db, clock.now(), slice_of(1))
    db.execute(
        "INSERT INTO outcome (id, study_instance_uid, revision, model, mode, model_digest, card_digest, state,"
        " created_at) VALUES (1, ?, 1, 'm', 'live', '', '', 'result', '')",
        (STUDY,),
    )
    db.execute(
        "INSERT INTO artifact (outcome_id, kind, path, size, digest, sop_instance_uid, created_at)"
        " VALUES (1, 'sc', 'results/x', 1, '', ?, '')",
        (f"{SERIES}.77",),
    )
    with db.transaction():
        studies.record_closing(db, clock.now(), STUDY, "quiet", revision=1)
    arrive(db, clock.now(), slice_of(77))
    held = {each.sop_instance_uid: each for each in instances.of_study(db, STUDY)}
    assert not held[f"{SERIES}.77"].readable
    study = studies.study(db, STUDY)
    assert study is not None
    assert not study.open


def test_an_undescribable_instance_is_kept_with_its_reason(db: Database, clock: FakeClock) -> None:
    arrive(db, clock.now(), slice_of(1), describe=False)
    assert instances.tally(db, STUDY).undescribed == 1
    (held,) = instances.of_study(db, STUDY)
    with db.transaction():
        instances.record_undescribable(db, clock.now(), held.id, "header ends early")
    (held,) = instances.of_study(db, STUDY)
    assert (held.state, held.reason, held.instance) == ("undescribable", "header ends early", None)
    assert instances.tally(db, STUDY).undescribed == 0
