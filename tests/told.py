"""A store as a night leaves it: studies in several states, with findings, results and a name that attacks pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node.config import Settings, load_settings
from node.domain.patient import Patient
from node.domain.study import Order
from node.domain.work import ResultState, WorkKind
from node.store import outbox, work_items
from node.store.database import Database, open_database
from node.store.files import write_durably
from node.workflow import closing, reading, reporting
from node.workflow.policy import Policy
from node.workflow.reading import MadeFile
from node.workflow.reporting import BuiltResult
from tests.fakes import FakeClock, arrive, model, policy, slice_of, volume_finding

READ, UNSUITED, ARRIVING = "1.2.3.1", "1.2.3.2", "1.2.3.3"
ATTACK = "<script>alert('x')</script>^\x1b[31m\"><img src=x onerror=alert(1)>"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def night(folder: Path) -> tuple[Database, FakeClock, Policy]:
    """Three studies: one read and sent, one that no model suits with an attack for a name, one still arriving."""
    db, clock, rules = open_database(folder, "test"), FakeClock(), policy(model())
    order = Order(study_date="20260101", study_description="Head", accession_number="A-1", patient_age_years=61.0)
    for number in range(1, 5):
        arrive(db, clock.now(), slice_of(number, study=READ, series="1.2.3.1.1", order=order))
    attacker = Patient(patient_id="P<2>", name=ATTACK)
    for number in range(1, 3):
        arrive(
            db,
            clock.now(),
            slice_of(number, study=UNSUITED, series="1.2.3.2.1", modality="CT", patient=attacker),
        )
    closing.close_due(db, clock.forward(5000), rules)
    _read_and_send(db, clock, rules)
    arrive(db, clock.forward(60), slice_of(1, study=ARRIVING, series="1.2.3.3.1"), describe=False)
    return db, clock, rules


def _read_and_send(db: Database, clock: FakeClock, rules: Policy) -> None:
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, "infer", 60)
    mask = MadeFile(kind="mask", path="masks/one.npz", size=1, digest="d")
    with db.transaction():
        reading.begin(db, clock.now(), item)
        reading.complete(db, clock.now(), rules, item, [volume_finding()], [mask], {"model_s": 1.5})
    (item,) = work_items.claim(db, clock.now(), WorkKind.REPORT, "report", 60)
    write_durably(db.folder / "results/one.dcm", b"a segmentation")
    built = BuiltResult(
        kind="seg",
        profile="standard",
        path="results/one.dcm",
        size=14,
        digest="d",
        sop_instance_uid="2.25.7",
        sop_class_uid=SEG,
    )
    with db.transaction():
        reporting.complete(db, clock.now(), rules, item, [built])
    (row,) = outbox.claim(db, clock.now(), "PACS", "deliver", 60, limit=10)
    with db.transaction():
        outbox.move(db, clock.now(), row, ResultState.SENT, "0x0000")


def write_config(folder: Path, **sections: Mapping[str, Any]) -> Path:
    """A `config.toml` in `folder`, with empty folders for models and rules beside it."""
    for name in ("models", "rules"):
        (folder / name).mkdir(exist_ok=True)
    lines = ["[data]", "minimum_free_percent = 0"]
    for section, keys in sections.items():
        lines += [f"[{section}]", *(f"{key} = {value!r}".replace("'", '"') for key, value in keys.items())]
    file = folder / "config.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


def settings(folder: Path) -> Settings:
    """Settings of a node whose data folder is `folder`/var."""
    return load_settings(write_config(folder))
