from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from node.domain.change import Verdict
from node.domain.measures import MeasuredRepeatability, Quantity
from node.domain.work import OutcomeState, WorkKind, WorkState
from node.imaging.mask import Mask, to_bytes
from node.imaging.measure import measured
from node.imaging.volume import read_volume
from node.infer.comparer import COMMAND, Comparer
from node.store import changes, instances, outcomes, studies, work_items
from node.workflow import changed, reading
from node.workflow.policy import Policy
from node.workflow.reading import MadeFile
from tests.infer.conftest import Site

PRIOR, NOW = "1.2.3.1", "1.2.3.2"
FIGURE = MeasuredRepeatability(
    quantity=Quantity.VOLUME, segment_number=1, percent=10.0, source="retest.csv", subjects=20
)


@pytest.fixture
def compared(site: Site) -> Site:
    """A site whose model says how well it repeats."""
    (model,) = site.policy.models
    known = replace(model, card=replace(model.card, repeatability=(FIGURE,)))
    site.policy = Policy(site.policy.settings, (known,), ())
    return site


def read(site: Site, study: str, day: str, radius: float, **head: object) -> int:
    """Let a study of that day be read as its bright ball says; return the outcome's id."""
    outcome_id = site.waits(study, radius=radius, study_date=day, **head)
    held = instances.of_study(site.db, study)
    described = [(site.db.folder / each.path, each.instance) for each in held if each.instance is not None]
    volume = read_volume(described)
    labels = (volume.array > 500).astype(np.uint8)
    found = measured(site.model.card, labels, volume.grid, volume, modality="MR").findings
    path = f"masks/{study}.npz"
    (site.db.folder / "masks").mkdir(exist_ok=True)
    (site.db.folder / path).write_bytes(to_bytes(Mask(labels, volume.grid, volume.sop_instance_uids)))
    now = site.clock.now()
    (item,) = work_items.claim(site.db, now, WorkKind.INFER, "infer", 60, study=study)
    with site.db.transaction():
        first = described[0][1]
        studies.record_identity(site.db, study, first.patient, first.order, "MR")
        reading.begin(site.db, now, item)
        made = MadeFile(kind="mask", path=path, size=1, digest=study)
        assert reading.complete(site.db, now, site.policy, item, found, [made], {})
    return outcome_id


def compare(site: Site, command: Sequence[str] = COMMAND, *, limit_s: float = 100.0) -> None:
    comparer = Comparer(site.db, site.clock, site.policy, "infer:test", command, limit_s=limit_s)
    while comparer.step():
        pass


def made(site: Site, study: str = NOW) -> list[changes.Comparison]:
    row = studies.study(site.db, study)
    assert row is not None
    return changed.comparisons_of(site.db, [row])[study]


def test_a_larger_ball_has_grown_and_the_report_waits_for_that(compared: Site) -> None:
    read(compared, PRIOR, "20251002", 9.0)
    now = read(compared, NOW, "20260101", 10.0, seed=1)
    assert compared.item_state(now, WorkKind.COMPARE) == "ready"
    assert compared.item_state(now, WorkKind.REPORT) == "none"
    compare(compared)
    (comparison,) = made(compared)
    (change,) = comparison.changes
    assert (change.verdict, change.days, change.prior_study_instance_uid) == (Verdict.GROWN, 91, PRIOR), change
    assert change.ratio == pytest.approx((10 / 9) ** 3, rel=0.1)
    assert comparison.alignment is not None
    assert comparison.alignment.similarity > 0.75
    assert compared.item_state(now, WorkKind.COMPARE) == "finished"
    assert compared.item_state(now, WorkKind.REPORT) == "ready"


def test_a_prior_that_is_read_later_is_compared_with_all_the_same(compared: Site) -> None:
    now = read(compared, NOW, "20260101", 9.0)
    assert compared.item_state(now, WorkKind.COMPARE) == "none"
    prior = read(compared, PRIOR, "20251002", 10.0)
    assert compared.item_state(prior, WorkKind.COMPARE) == "none"
    compare(compared)
    assert [each.verdict for each in made(compared)[0].changes] == [Verdict.SHRUNK]


def test_a_prior_whose_files_are_gone_is_compared_by_its_numbers(compared: Site) -> None:
    read(compared, PRIOR, "20251002", 9.0)
    with compared.db.transaction():
        compared.db.execute("UPDATE instance SET freed_at = '2026' WHERE study_instance_uid = ?", (PRIOR,))
    read(compared, NOW, "20260101", 10.0)
    compare(compared)
    (comparison,) = made(compared)
    assert comparison.alignment is None
    assert [each.verdict for each in comparison.changes] == [Verdict.GROWN]


def test_another_version_of_the_model_is_told_and_nothing_is_computed(compared: Site) -> None:
    prior = read(compared, PRIOR, "20251002", 9.0)
    with compared.db.transaction():
        compared.db.execute("UPDATE outcome SET model_digest = 'older' WHERE id = ?", (prior,))
    read(compared, NOW, "20260101", 10.0)
    compare(compared, [sys.executable, "-c", "raise SystemExit(9)"])
    (change,) = made(compared)[0].changes
    assert (change.verdict, change.reason) == (
        *(Verdict.NOT_COMPARABLE, "the prior was read by another version of the model"),
    )


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.kill(os.getpid(), 9)", "the comparing process was killed by SIGKILL"),
        ("raise SystemExit(3)", "the comparing process ended with exit code 3"),
        ("print('nonsense')", "it answered garbage"),
        ("import time; time.sleep(600)", "the comparison did not end within 0.3 s"),
    ],
)
def test_what_kills_its_process_is_parked_after_three_deaths_and_the_report_is_written_without(
    compared: Site, program: str, reason: str
) -> None:
    read(compared, PRIOR, "20251002", 9.0)
    now = read(compared, NOW, "20260101", 10.0)
    limit_s = 0.3 if "sleep" in program else 60.0
    for attempt in range(1, 4):
        compared.clock.forward(60)
        compare(compared, [sys.executable, "-S", "-c", program], limit_s=limit_s)
        last = compared.db.row("SELECT attempts, reason FROM work_item WHERE kind = 'compare'")
        assert last is not None
        assert (last["attempts"], last["reason"]) == (attempt, reason)
    assert work_items.state(compared.db, WorkKind.COMPARE, now) is WorkState.PARKED
    assert compared.item_state(now, WorkKind.REPORT) == "ready"
    assert made(compared) == []


def test_a_superseded_side_takes_the_comparison_with_it_and_the_next_result_brings_a_new_one(compared: Site) -> None:
    prior = read(compared, PRIOR, "20251002", 9.0)
    read(compared, NOW, "20260101", 10.0)
    compare(compared)
    with compared.db.transaction():
        outcomes.move(compared.db, compared.clock.now(), prior, OutcomeState.SUPERSEDED, "forced")
    assert made(compared) == []


def test_a_mask_that_lies_elsewhere_is_no_reason_to_try_again(compared: Site) -> None:
    read(compared, PRIOR, "20251002", 9.0)
    now = read(compared, NOW, "20260101", 10.0)
    for path in compared.db.rows("SELECT path FROM artifact WHERE outcome_id = ?", (now,)):
        Path(compared.db.folder / path["path"]).write_bytes(b"no mask")
    compare(compared)
    assert work_items.state(compared.db, WorkKind.COMPARE, now) is WorkState.PARKED
    assert compared.item_state(now, WorkKind.REPORT) == "ready"


def test_a_room_that_stops_gives_the_comparison_back(compared: Site) -> None:
    read(compared, PRIOR, "20251002", 9.0)
    now = read(compared, NOW, "20260101", 10.0)
    comparer = Comparer(
        compared.db,
        compared.clock,
        compared.policy,
        "infer:test",
        [sys.executable, "-c", "import time; time.sleep(60)"],
    )
    assert comparer.step()
    comparer.end()
    assert work_items.state(compared.db, WorkKind.COMPARE, now) is WorkState.READY
