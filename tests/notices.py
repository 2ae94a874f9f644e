"""Studies with something to tell, and routes to tell it by."""

from __future__ import annotations

from collections.abc import Sequence

from node.config import Settings
from node.domain.finding import Code, Finding
from node.domain.notice import NoticeState
from node.domain.patient import Patient
from node.domain.study import Order
from node.domain.work import WorkKind
from node.store import notices, work_items
from node.store.database import Database
from node.store.notices import Notice
from node.workflow import reading
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from tests.fakes import STUDY, FakeClock, arrive, model, peers, slice_of

QUIET_S = 601.0  # MR: 600 s
#: SNOMED CT, PS3.16 CID 4031 and others name such codes; here only its form matters.
BLEED = Code("50960005", "SCT", "Hemorrhage")
RIS = {"name": "RIS", "kind": "hl7", "host": "127.0.0.1", "port": 2575, "interface": "worklist"}
ACCESSION = "A-1"
PERSON = Patient(patient_id="CANARY-ID", issuer="A", name="CANARY^NAME^Q", birth_date="19440101", sex="F")


def routed(*routes: dict[str, object], flags_to: Sequence[str] = ("RIS",), **changes: object) -> Policy:
    """A policy with one live model, and routes that the scanner's studies are told to."""
    flagging = [{**peer, **({"flags_to": list(flags_to)} if peer["name"] == "SCANNER" else {})} for peer in peers()]
    settings = Settings.model_validate(
        {"peers": flagging, "routes": [*(routes or (RIS,))], "models": {"brain": {"mode": "live"}}, **changes}
    )
    return Policy(settings, (model(),), ())


def bleed(probability: float = 0.9, *, present: bool = True) -> Finding:
    """A finding that the model decides on."""
    return Finding(code=BLEED, probability=probability, present=present, operating_point=0.5, sentence="Blood")


def closed(
    db: Database,
    clock: FakeClock,
    policy: Policy,
    *,
    study: str = STUDY,
    priority: str = "",
    accession: str = ACCESSION,
    patient: Patient = PERSON,
) -> None:
    """A study that has come and closed; with a priority, the order's lane."""
    order = Order(study_date="20260101", accession_number=accession, requested_priority=priority)
    for number in range(3):
        arrive(
            db,
            clock.now(),
            slice_of(number, study=study, series=f"{study}.1", order=order, patient=patient),
        )
    close_due(db, clock.forward(QUIET_S), policy)


def read(db: Database, clock: FakeClock, policy: Policy, *found: Finding) -> None:
    """The model reads the oldest study that waits for it."""
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, "infer", 60)
    with db.transaction():
        reading.begin(db, clock.now(), item)
        reading.complete(db, clock.now(), policy, item, list(found), [], {"model_s": 1.0})


def told(db: Database, study: str = STUDY) -> list[tuple[int, str, str]]:
    """Version, state and why, of each notice of a study."""
    return [(each.version, each.state.value, each.because) for each in notices.of_study(db, study)]


def newest(db: Database, study: str = STUDY) -> Notice:
    """The newest notice of a study."""
    return notices.of_study(db, study)[-1]


def leave(db: Database, clock: FakeClock, *, acknowledged: bool = True, route: str = "RIS") -> Notice:
    """Send the next notice of a route, as its sender does; what a receiver answers comes or not."""
    notice = notices.claim(db, clock.now(), route, "deliver:1:", 60)
    assert notice is not None
    assert notices.begin(db, clock.now(), notice, b"as sent")
    if acknowledged:
        with db.transaction():
            assert notices.move(db, clock.now(), notice, NoticeState.ACKNOWLEDGED, "")
    else:
        notices.release(db, "deliver:")
    return notice
