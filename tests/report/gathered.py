"""From files to evidence by the node's own way: described, judged, read, masked, stored, gathered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom.config
from numpy.typing import NDArray

from node.domain.colour import Colour
from node.domain.finding import Finding
from node.domain.model_card import Condition, Mode, ModelCard
from node.domain.study import Instance, Series
from node.domain.work import OutcomeState
from node.errors import Unsuitable
from node.imaging.mask import Mask, to_bytes
from node.imaging.volume import Volume, read_volume
from node.receive.describer import describe
from node.receive.protocol import Job
from node.report import gathering
from node.report.evidence import Evidence
from node.store import arrivals, artifacts, findings, instances, outcomes
from node.store.arrivals import Arrival
from node.store.database import Database, open_database
from node.triage.suitability import Choice, choose, slices_of
from tests.fakes import FakeClock, model, policy
from tests.report.synthetic import BRAIN, blob, card, finding

#: A card that wants nothing but a volume.
VOLUME = replace(card(), requires=(Condition(field="slice_count", at_least=2),))
#: A card that reads single images.
FLAT = replace(card(), needs_volume=False, colour=Colour.RGB)


@dataclass(frozen=True, eq=False)
class Gathered:
    """What came of one series."""

    evidence: Evidence
    #: SOP Instance UID → what was described.
    described: dict[str, Instance]
    volume: Volume | None


def described(paths: Sequence[Path]) -> list[Instance]:
    """What the describing child says of each file.

    Raises:
        Unsuitable: one cannot be described.
    """
    before = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        answers = [describe(Job(id=1, path=str(path), issuer=""), 60.0) for path in paths]
    finally:
        pydicom.config.settings.reading_validation_mode = before
    for answer in answers:
        if answer.instance is None:
            raise Unsuitable(f"undescribable: {answer.undescribable}")
    return [answer.instance for answer in answers if answer.instance is not None]


def chosen(found: Sequence[Instance], wanted: ModelCard) -> tuple[Choice, list[Instance]]:
    """The instances that the model is given.

    Raises:
        Unsuitable: no series suits.
    """
    by_series: dict[str, list[Instance]] = {}
    for instance in found:
        by_series.setdefault(instance.series_instance_uid, []).append(instance)
    choice = choose([Series(series_instance_uid=uid, instances=tuple(each)) for uid, each in by_series.items()], wanted)
    if choice.chosen is None:
        raise Unsuitable(choice.reason)
    return choice, [each for each in by_series[choice.chosen] if each.sop_instance_uid in choice.sop_instance_uids]


def gather(folder: Path, paths: Sequence[Path], wanted: ModelCard = VOLUME, *, masked: bool = True) -> Gathered:
    """Take a series the whole way. A model of single images marks the first one, or its second frame.

    Raises:
        Unsuitable: nothing suits the model.
    """
    found = described(paths)
    _, inputs = chosen(found, wanted)
    files = {instance.sop_instance_uid: path for path, instance in zip(paths, found, strict=True)}
    slices = slices_of(inputs, wanted)
    volume = mask = None
    marked: tuple[Finding, ...] = (Finding(code=BRAIN, probability=0.9),)
    if wanted.needs_volume:
        volume = read_volume([(files[each.sop_instance_uid], each) for each in slices])
        labels = blob(volume.grid.shape)
        labels[:, 4:-6, 3:-7] |= not labels.any()  # a blob needs more slices than two
        marked = (finding(labels, volume.grid),)
        mask = Mask(labels, volume.grid, volume.sop_instance_uids, volume.frame_numbers)
    elif masked:
        mask = _flat_mask(slices[0])
        marked = (Finding(code=BRAIN, segment_number=1),)
    with closing(open_database(folder / "var", "report")) as db:
        outcome_id = _stored(db, [(files[each.sop_instance_uid], each) for each in inputs], mask, marked)
        outcome = outcomes.outcome(db, outcome_id)
        assert outcome is not None
        evidence = gathering.gather(db, policy(model()), outcome)
    evidence = replace(evidence, card=wanted)
    return Gathered(evidence, {each.sop_instance_uid: each for each in found}, volume)


def _flat_mask(image: Instance) -> Mask:
    assert image.pixels is not None
    labels: NDArray[np.uint8] = np.zeros((1, image.pixels.rows, image.pixels.columns), np.uint8)
    labels[0, 2:-3, 1:-2] = 1
    return Mask(labels, None, (image.sop_instance_uid,), (2,) if image.pixels.number_of_frames > 1 else ())


def _stored(db: Database, inputs: Sequence[tuple[Path, Instance]], mask: Mask | None, marked: Sequence[Finding]) -> int:
    """The outcome with everything it rests on; returns its row id."""
    clock, made = FakeClock(), model()
    with db.transaction():
        for path, instance in inputs:
            _arrive(db, clock, path, instance)
        ids = [held.id for held in instances.of_study(db)]
        outcome_id = outcomes.add(
            db,
            clock.now(),
            study=inputs[0][1].study_instance_uid,
            revision=1,
            run_number=1,
            model=made.card.name,
            mode=Mode.LIVE,
            model_digest=made.model_digest,
            card_digest=made.card_digest,
            series_instance_uid=inputs[0][1].series_instance_uid,
            content_digest="3d" * 32,
            series=(),
            state=OutcomeState.PENDING,
            inputs=ids,
        )
        outcomes.move(db, clock.now(), outcome_id, OutcomeState.RUNNING)
        outcomes.move(db, clock.now(), outcome_id, OutcomeState.RESULT)
        findings.record(db, outcome_id, list(marked))
        if mask is not None:
            (db.folder / "mask.npz").write_bytes(to_bytes(mask))
            artifacts.record(db, clock.now(), outcome_id=outcome_id, kind="mask", path="mask.npz", size=1, digest="")
    return outcome_id


def _arrive(db: Database, clock: FakeClock, path: Path, instance: Instance) -> None:
    content = path.read_bytes()
    where = db.folder / f"{instance.sop_instance_uid}.dcm"
    where.write_bytes(content)
    arrivals.record_arrival(
        db,
        clock.now(),
        Arrival(
            study_instance_uid=instance.study_instance_uid,
            series_instance_uid=instance.series_instance_uid,
            sop_instance_uid=instance.sop_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            digest=hashlib.sha256(content).hexdigest(),
            size=len(content),
            path=where.name,
            source="SCANNER",
        ),
    )
    row = db.row("SELECT max(id) AS id FROM instance")
    assert row is not None
    instances.record_description(db, row["id"], instance, ours=False)
