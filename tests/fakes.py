"""A clock that tests turn by hand, and studies that stand in the store without a network."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from node.catalogue import Model
from node.config import Peer, Settings
from node.domain.finding import MILLILITRE, VOLUME, Code, Finding, Measurement, Segment
from node.domain.model_card import Condition, Mode, ModelCard, VolumeMeasurement, Weights
from node.domain.patient import Patient
from node.domain.study import Instance, Order, Pixels, Plane
from node.domain.time import Instant
from node.store import arrivals, instances, work_items
from node.store.arrivals import Arrival
from node.store.database import Database
from node.workflow.policy import Policy

MR = "1.2.840.10008.5.1.4.1.1.4"
SR = "1.2.840.10008.5.1.4.1.1.88.34"
EXPLICIT = "1.2.840.10008.1.2.1"
STUDY = "1.2.3.1"
SERIES = "1.2.3.1.1"
PATIENT = Patient(patient_id="P1", issuer="A", name="Doe^Jane", birth_date="19700101", sex="F")
BRAIN = Code("12738006", "SCT", "Brain")


class FakeClock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        self.boottime_s = 1000.0
        self.boot_id = "boot-1"

    def now(self) -> Instant:
        return Instant(self.wall, self.boottime_s, self.boot_id)

    def forward(self, seconds: float) -> Instant:
        self.wall += timedelta(seconds=seconds)
        self.boottime_s += seconds
        return self.now()

    def reboot(self) -> Instant:
        self.boot_id += "x"
        self.boottime_s = 1.0
        return self.now()


def slice_of(
    number: int, *, study: str = STUDY, series: str = SERIES, content: str = "", **changes: object
) -> Instance:
    """Slice `number` of an axial series with 2 mm between slices."""
    uid = f"{series}.{number}"
    instance = Instance(
        study_instance_uid=study,
        series_instance_uid=series,
        sop_instance_uid=uid,
        sop_class_uid=MR,
        transfer_syntax_uid=EXPLICIT,
        patient=PATIENT,
        order=Order(study_date="20260101"),
        modality="MR",
        series_description="T1",
        image_type=("ORIGINAL", "PRIMARY"),
        instance_number=number,
        frame_of_reference_uid="1.2.9",
        plane=Plane(position=(0.0, 0.0, 2.0 * number), orientation=(1, 0, 0, 0, 1, 0), spacing=(1.0, 1.0)),
        pixels=Pixels(rows=16, columns=16),
        content_digest=content or f"content-{uid}",
    )
    return replace(instance, **changes)  # type: ignore[arg-type]


def arrive(
    db: Database,
    now: Instant,
    instance: Instance,
    *,
    source: str = "SCANNER",
    version: str = "",
    describe: bool = True,
    lossy: bool = False,
    retrieved: bool = False,
) -> bool:
    """Let an instance arrive and be described."""
    digest = hashlib.sha256(f"{instance.sop_instance_uid}{version}".encode()).hexdigest()
    with db.transaction():
        new = arrivals.record_arrival(
            db,
            now,
            Arrival(
                study_instance_uid=instance.study_instance_uid,
                series_instance_uid=instance.series_instance_uid,
                sop_instance_uid=instance.sop_instance_uid,
                sop_class_uid=instance.sop_class_uid,
                transfer_syntax_uid=instance.transfer_syntax_uid,
                digest=digest,
                size=100,
                path=f"spool/{digest[:2]}/{digest}.dcm",
                source=source,
                lossy=lossy,
                retrieved=retrieved,
            ),
        )
    if new and describe:
        describe_all(db, now, {(instance.sop_instance_uid, digest): instance})
    return new


def describe_all(db: Database, now: Instant, described: dict[tuple[str, str], Instance]) -> None:
    """Do what the describing child does: finish each item with the typed header."""
    from node.domain.work import WorkKind

    for item in work_items.claim(db, now, WorkKind.DESCRIBE, "describe:1", 30, limit=1000):
        row = db.row("SELECT sop_instance_uid, digest FROM instance WHERE id = ?", (int(item.subject),))
        assert row is not None
        with db.transaction():
            instances.record_description(
                db, int(item.subject), described[row["sop_instance_uid"], row["digest"]], ours=False
            )
            work_items.finish(db, now, item)


def card(**changes: object) -> ModelCard:
    """The card of a model that reads T1 MR volumes."""
    made = ModelCard(
        name="brain",
        version="1",
        title="Brain",
        purpose="tests",
        intended_use="tests",
        licence="MIT",
        citation="none",
        manufacturer="none",
        pipeline="coarse-to-fine",
        weights=(Weights(role="w", source="file:w"),),
        requires=(Condition(field="modality", one_of=("MR",), because="not MR"),),
        procedure=Code("24590-2", "LN", "MR Brain"),
        segments=(Segment(number=1, label="Brain", category=BRAIN, type=BRAIN),),
        volumes=(VolumeMeasurement(segment_number=1),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def model(mode: Mode = Mode.LIVE, problem: str = "", **changes: object) -> Model:
    """A model that runs nowhere but may be assigned."""
    return Model(
        card=card(**changes),
        folder=Path("models/brain"),
        weights={},
        model_digest="m" * 64,
        card_digest="c" * 64,
        mode=mode,
        problem=problem,
    )


def peers() -> list[dict[str, object]]:
    """Two sources and two destinations that must not mix."""
    address = ["127.0.0.1/32"]
    place = {"host": "127.0.0.1", "port": 4242}
    return [
        {"name": "SCANNER", "ae_title": "SCANNER", "addresses": address, "roles": ["source"], "results_to": ["PACS"]},
        {"name": "OTHER", "ae_title": "OTHER", "addresses": address, "roles": ["source"], "results_to": ["PACS2"]},
        {"name": "PACS", "ae_title": "PACS", "roles": ["destination"], **place},
        {"name": "PACS2", "ae_title": "PACS2", "roles": ["destination"], **place},
    ]


def policy(*models: Model, more_peers: tuple[dict[str, object], ...] = ()) -> Policy:
    """A policy with the peers above."""
    settings = Settings.model_validate(
        {
            "peers": [Peer.model_validate(peer) for peer in (*peers(), *more_peers)],
            "models": {each.card.name: {"mode": each.mode} for each in models},
        }
    )
    return Policy(settings, models, ())


def volume_finding(ml: float = 1234.5) -> Finding:
    """A brain of that volume."""
    return Finding(
        code=BRAIN,
        segment_number=1,
        measurements=(Measurement(quantity=VOLUME, value=ml, unit=MILLILITRE),),
        tracking_identifier="Brain",
        tracking_uid="2.25.1",
    )
