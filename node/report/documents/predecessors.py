"""Documents of ours that a new result replaces: those of the model's last outcome on the study that were sent."""

from __future__ import annotations

from pydicom import dcmread

from node.domain.work import ResultState
from node.report.evidence import Predecessor
from node.store import artifacts, outbox, outcomes
from node.store.database import Database
from node.store.outcomes import Outcome

#: SOP Classes of structured reports (PS3.4 §B.5); key objects, which begin alike, have no predecessors (PS3.3 §A.35.4).
_REPORTS = "1.2.840.10008.5.1.4.1.1.88."
_KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
_SENT = frozenset({ResultState.SENT, ResultState.COMMITTED})


def predecessors(db: Database, outcome: Outcome) -> tuple[Predecessor, ...]:
    """The reports of the newest earlier outcome of the same model that any destination was sent; none were, none.

    What never left is no predecessor: a reader would look for a document that nobody has.
    """
    earlier = [
        each
        for each in outcomes.of_study(db, outcome.study_instance_uid)
        if each.model == outcome.model and each.id < outcome.id
    ]
    for each in reversed(earlier):
        found = _sent_reports(db, each)
        if found:
            return found
    return ()


def _sent_reports(db: Database, outcome: Outcome) -> tuple[Predecessor, ...]:
    sent = {row.artifact_id for row in outbox.of_outcome(db, outcome.id) if row.state in _SENT}
    reports = []
    for artifact in artifacts.of_outcome(db, outcome.id):
        is_report = artifact.sop_class_uid.startswith(_REPORTS) and artifact.sop_class_uid != _KEY_OBJECTS
        file = db.folder / artifact.path
        if artifact.id in sent and is_report and file.is_file():
            header = dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
            reports.append(
                Predecessor(
                    kind=artifact.kind,
                    profile=artifact.profile,
                    sop_class_uid=artifact.sop_class_uid,
                    sop_instance_uid=artifact.sop_instance_uid,
                    series_instance_uid=str(header.SeriesInstanceUID),
                )
            )
    return tuple(reports)
