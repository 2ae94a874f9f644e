"""A night with poison in it: every tenth study kills, hangs or fools the model process; what becomes of the others?"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.config import InferSettings
from node.domain.model_card import Condition, Mode, ModelCard
from node.domain.study import Series
from node.domain.time import SystemClock
from node.domain.work import FINAL_OUTCOMES, OutcomeState, WorkKind
from node.imaging.mask import read_mask
from node.infer.admission import Residence
from node.infer.ledger import Ledger
from node.infer.room import InferRoom
from node.receive.fields import instance_of
from node.store import artifacts, instances, outcomes, work_items
from node.store.database import Database, open_database
from node.triage.suitability import choose
from tests.fakes import arrive, card, model, policy
from tests.infer.poison_kinds import BRIGHT, SHAPE, Poison

_MR = Condition(field="modality", one_of=("MR",), because="the modality is {value}")


@dataclass(frozen=True, slots=True)
class Case:
    """One study of the night."""

    outcome_id: int
    uid: str
    poison: Poison | None
    values: NDArray[np.uint16]


@dataclass(slots=True, kw_only=True)
class Night:
    """What became of the studies."""

    #: Healthy studies without the right result, and poisoned ones that ended otherwise than they should.
    wrong: list[str] = field(default_factory=list)
    #: Ends of poisoned studies, by what was wrong with them: "failed after 3" …
    ends: Counter[str] = field(default_factory=Counter)
    healthy: int = 0
    poison_attempts: int = 0
    #: Healthy studies with more attempts than one; each was in the process when a poisoned one ended it.
    counted_against_healthy: int = 0
    #: Median seconds between two healthy results with no poison between.
    period_s: float = 0.0
    #: Longest delay of a healthy study for each poisoned attempt ahead of it, over the night and between two results.
    longest_delay_s: float = 0.0
    longest_gap_s: float = 0.0
    wall_s: float = 0.0


#: The real model process, with a network that poison harms.
REAL = [sys.executable, str(Path(__file__).with_name("poison_process.py"))]


def night(folder: Path, *, studies: int, poisoned: int, limit_s: float, command: Sequence[str] = REAL) -> Night:
    """Let the studies wait, have a room read them all, and look at what became of each."""
    reader = replace(model(), card=card(time_limit_s=limit_s, requires=(_MR,)), folder=folder)
    db, clock = open_database(folder, "infer"), SystemClock()
    (folder / artifacts.MASKS).mkdir(exist_ok=True)
    room = InferRoom(
        db, Ledger(db, clock, policy(reader), "infer:poison"), Residence(InferSettings(device="cpu"), command)
    )
    try:
        cases = [
            _waits(db, clock, reader.card, number, _poison_of(number, studies, poisoned)) for number in range(studies)
        ]
        started = time.monotonic()
        while not _all_final(db):
            if not room.step():
                time.sleep(0.02)
        told = _told(db, cases)
        told.wall_s = time.monotonic() - started
        return told
    finally:
        room.end()
        db.close()


def _poison_of(number: int, studies: int, poisoned: int) -> Poison | None:
    """Spread over the night, each kind as often as the others."""
    before, after = number * poisoned // studies, (number + 1) * poisoned // studies
    return list(Poison)[before % len(Poison)] if after > before else None


def _waits(db: Database, clock: SystemClock, used: ModelCard, number: int, poison: Poison | None) -> Case:
    uid = f"1.2.826.7.{number + 1}"
    values = np.random.default_rng(number).integers(0, 1000, SHAPE).astype(np.uint16)
    if poison is not None:
        values[0, 0, 0] = poison.code
    modality = "CT" if poison is Poison.MODALITY else "MR"
    paths = {}
    for slice_number in range(SHAPE[0]):
        dataset = _slice(uid, slice_number, values[slice_number], modality)
        path = db.folder / f"{uid}.{slice_number}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        described = instance_of(dcmread(path, stop_before_pixels=True), issuer="A", has_pixels=True)
        arrive(db, clock.now(), described)
        paths[described.sop_instance_uid] = path
    held = instances.of_study(db, uid)
    for each in held:
        (db.folder / each.path).parent.mkdir(parents=True, exist_ok=True)
        paths[each.sop_instance_uid].rename(db.folder / each.path)
    # As assignment does it: what does not suit never reaches a process.
    series = Series(
        series_instance_uid=f"{uid}.1",
        instances=tuple(each.instance for each in held if each.instance is not None),
    )
    choice = choose([series], used)
    with db.transaction():
        outcome_id = outcomes.add(
            db,
            clock.now(),
            study=uid,
            revision=1,
            run_number=1,
            model="brain",
            mode=Mode.LIVE,
            model_digest="m" * 64,
            card_digest="c" * 64,
            series_instance_uid=f"{uid}.1",
            content_digest=f"content-{uid}",
            series=[],
            state=OutcomeState.PENDING if choice.chosen else OutcomeState.NOT_APPLICABLE,
            reason="" if choice.chosen else choice.reason,
            inputs=[each.id for each in held],
        )
        if choice.chosen:
            work_items.add(db, clock.now(), WorkKind.INFER, outcome_id, uid)
    return Case(outcome_id, uid, poison, values)


def _slice(uid: str, number: int, values: NDArray[np.uint16], modality: str) -> Dataset:
    from tests.journeys.tiny_model import _slice as slice_of_head

    dataset = slice_of_head(uid, number, np.zeros((32, 32), np.uint16), f"P{uid}")
    dataset.Modality, dataset.Rows, dataset.Columns = modality, *values.shape
    dataset.PixelData = values.tobytes()
    return dataset


def _all_final(db: Database) -> bool:
    states = {row["state"] for row in db.rows("SELECT DISTINCT state FROM outcome")}
    return all(OutcomeState(state) in FINAL_OUTCOMES for state in states)


def _told(db: Database, cases: list[Case]) -> Night:
    told = Night()
    for case in cases:
        outcome = outcomes.outcome(db, case.outcome_id)
        assert outcome is not None
        attempts = _claims(db, case)
        if case.poison is None:
            told.healthy += 1
            told.counted_against_healthy += _deaths(db, case) > 0
            if outcome.state is not OutcomeState.RESULT or not _is_right(db, case):
                told.wrong.append(f"{case.uid}: {outcome.state} {outcome.reason}")
        else:
            told.poison_attempts += attempts
            told.ends[f"{case.poison}: {outcome.state.replace('_', ' ')} after {_deaths(db, case)} deaths"] += 1
            if outcome.state is not _end_of(case.poison):
                told.wrong.append(f"{case.uid} ({case.poison}): {outcome.state} {outcome.reason}")
    _measure(db, cases, told)
    return told


def _end_of(poison: Poison) -> OutcomeState:
    return OutcomeState.NOT_APPLICABLE if poison is Poison.MODALITY else OutcomeState.FAILED


def _is_right(db: Database, case: Case) -> bool:
    (mask,) = (each for each in artifacts.of_outcome(db, case.outcome_id) if each.kind == "mask")
    path, expected = db.folder / mask.path, (case.values > BRIGHT).astype(np.uint8)
    # The stand-in writes plain bytes.
    return path.read_bytes() == expected.tobytes() or np.array_equal(read_mask(path).labels, expected)


def _claims(db: Database, case: Case) -> int:
    row = db.row(
        "SELECT count(*) AS number FROM event WHERE subject = ? AND after = 'claimed'", (f"infer:{case.outcome_id}",)
    )
    assert row is not None
    return int(row["number"])


def _deaths(db: Database, case: Case) -> int:
    """How often the model process died over a study; what was given back does not count."""
    row = db.row(
        "SELECT count(*) AS number FROM event WHERE subject = ? AND before = 'claimed' AND after IN ('ready', 'parked')"
        " AND reason LIKE 'the model process%' AND reason NOT LIKE '%over another study'",
        (f"infer:{case.outcome_id}",),
    )
    assert row is not None
    return int(row["number"])


def _measure(db: Database, cases: list[Case], told: Night) -> None:
    """Delays of healthy results: what passes beyond the usual between two of them is laid to the poison between."""
    healthy = {f"infer:{case.outcome_id}" for case in cases if case.poison is None}
    rows = db.rows("SELECT at, subject, after FROM event WHERE about = 'work_item' AND before = 'claimed' ORDER BY id")
    gaps: list[tuple[float, int]] = []
    last, between = None, 0
    for row in rows:
        if row["subject"] not in healthy:
            between += 1
        elif row["after"] == "finished":
            at = datetime.fromisoformat(row["at"]).timestamp()
            gaps += [(at - last, between)] if last is not None else []
            last, between = at, 0
    clean = sorted(gap for gap, poison in gaps if not poison)
    told.period_s = clean[len(clean) // 2] if clean else 0.0
    delay, attempts = 0.0, 0
    for gap, poison in gaps:
        if poison:
            delay, attempts = delay + gap - told.period_s, attempts + poison
            told.longest_gap_s = max(told.longest_gap_s, (gap - told.period_s) / poison)
            told.longest_delay_s = max(told.longest_delay_s, delay / attempts)
