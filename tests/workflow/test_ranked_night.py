"""A night in the store: the list that the tables keep is the one that plain Python makes of those tables."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from node.domain.history import Fact, Standing
from node.domain.model_card import Mode
from node.domain.pin import FINDINGS_MAXIMUM, PIN
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.rule import ORDER
from node.domain.study import Order
from node.domain.work import WorkKind
from node.store import reading_list, studies, work_items
from node.store.database import FILE_NAME, open_database
from node.triage.rules import compile_rules
from node.workflow import history, pinning, ranking, reading, reported
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from tests.fakes import PATIENT, FakeClock, arrive, model, policy, slice_of
from tests.triage import brute_force
from tests.triage.random_night import FINDABLE, MODELS, Night, finding_of
from tests.triage.test_against_brute_force import compiled

_OWN = {ORDER, PIN, FINDINGS_MAXIMUM}
#: What the tables hold of a night: rules about changes are compared in `tests/triage`.
STUDIES = 40


def rules_of(night: Night, folder: Path) -> Policy:
    rules = compile_rules([each.rule for each in compiled(night, folder)])
    modes = {"brain": Mode.LIVE, "chest": Mode.LIVE, "bleed": Mode.SHADOW}
    return replace(policy(*(model(name=name, mode=modes[name]) for name in MODELS)), rules=rules)


@pytest.mark.parametrize("seed", [3, 4])
def test_the_kept_list_is_what_plain_python_makes_of_the_tables_also_after_a_restart(tmp_path: Path, seed: int) -> None:
    night, clock, chance = Night(seed, studies=STUDIES), FakeClock(), random.Random(seed)
    folder = tmp_path / "rules"
    folder.mkdir()
    used = rules_of(night, folder)
    db = open_database(tmp_path / "var", "test")
    for raw in night.studies:
        patient = replace(PATIENT, patient_id=f"P{chance.randrange(STUDIES)}", sex="")
        order = Order(study_date="20260101", study_description=raw.description, requested_priority=raw.priority.strip())
        part = min(raw.parts) if raw.parts else ""
        facts = tuple(Fact(**{**each, "standing": Standing(each["standing"])}, source="S") for each in raw.history)
        told = [each for each in facts if each.code in ("problem", "medication", "observation")]
        order = replace(order, patient_age_years=raw.age, facts=tuple(each for each in facts if each not in told))
        for number in range(4):
            image = slice_of(number, study=raw.uid, series=f"{raw.uid}.1", patient=patient, order=order)
            arrive(db, clock.forward(1), replace(image, body_part_examined=part))
        close_due(db, clock.forward(700), used)
        with db.transaction():
            history.learn(db, clock.forward(1), used, patient, told, origin=f"S {raw.uid}")
        for item in work_items.claim(db, clock.forward(1), WorkKind.INFER, "infer", 60, limit=2, study=raw.uid):
            with db.transaction():
                reading.begin(db, clock.now(), item)
                found = [finding_of(each) for result in raw.results[:1] for each in result["findings"]]
                reading.complete(db, clock.now(), used, item, found, [], {})
        if raw.pin is not None:
            lane = Lane(raw.pin[0]) if raw.pin[0] else None
            pinning.pin(db, clock.now(), used, raw.uid, lane=lane, by="ada", why="asked")
        if chance.random() < 0.1:
            with db.transaction():
                reported.record(db, clock.now(), used, raw.uid, ReportState.FINAL, told_by="ada")
        if chance.random() < 0.1:
            clock.wall += chance.choice([-1, 1]) * (clock.now().wall - clock.wall.replace(hour=0))
    kept = [
        (row.study_instance_uid, row.lane.value, row.score, row.reasons) for row in studies.worklist(db, every=False)
    ]
    db.close()

    raws = brute_force.studies_in(tmp_path / "var" / FILE_NAME)
    theirs = brute_force.ranked(raws, brute_force.rules_in(folder), findable=FINDABLE)
    assert [(uid, lane, score) for uid, lane, score, _ in kept] == [(e.uid, e.lane, e.score) for e in theirs]
    for (uid, _, _, reasons), placed in zip(kept, theirs, strict=True):
        assert {str(each["rule"]): each["points"] for each in reasons if each["rule"] not in _OWN} == placed.reasons, (
            uid
        )

    db = open_database(tmp_path / "var", "test")
    clock.reboot()
    assert ranking.rerank_all(db, clock.now(), used) == 0, "a fresh look finds every place as it was kept"
    assert reading_list.unread(db) == [uid for uid, *_ in kept]
    db.close()
