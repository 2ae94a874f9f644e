"""One Unified Procedure Step for each study that waits for a radiologist: made, kept up to date, taken back.

Its priority is the study's lane, its comments are the reasons. Whom it is about is said as the closing found it, and
not at all while that is in doubt: a study that is held has no step that anybody sees.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from node.domain.dicom_json import Attributes, coded, element
from node.domain.priority import UPS_PRIORITY, Lane
from node.domain.report_state import ReportState
from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.uid import derived_uid
from node.domain.ups import READER, UpsState
from node.domain.ups_attributes import (
    COMMENTS,
    EXPECTED_COMPLETION,
    INPUT,
    PARAMETERS,
    PRIORITY,
    READINESS,
    START,
    STEP_LABEL,
    STUDY_INSTANCE_UID,
    WORKITEM_CODE,
    WORKLIST_LABEL,
    completed_creation,
    of_patient,
    of_request,
)
from node.store import events, instances, studies, ups, ups_watch
from node.store.database import Database
from node.store.studies import StudyRow
from node.store.ups import Reading, UpsRow
from node.workflow import steps_told
from node.workflow import ups as steps
from node.workflow.policy import Policy
from node.workflow.steps_seen import is_in_doubt

_LONGEST_LABEL, _LONGEST_COMMENT = 64, 10240
#: Of a study with more the step says the study alone.
_MOST_INSTANCES = 500
#: Studies that one sweep puts right.
_SWEEP = 50
_SCORE = coded("score", "99MATINS", "Score within the lane")
_NO_UNITS = coded("1", "UCUM", "no units")


def are_wanted(policy: Policy) -> bool:
    """Whether any peer may read studies: where none does, no steps to read one are made."""
    return any(READER in peer.roles for peer in policy.settings.peers)


def schedule(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> None:
    """Make or renew the step to read a study, or take it back, as the study is now; in the caller's transaction."""
    wanted = are_wanted(policy)
    study = studies.study(db, study_instance_uid) if wanted or steps_told.routes_of(policy.settings) else None
    if study is None:
        return
    steps_told.tell(db, now, policy, study)
    if not wanted:
        return
    current = ups.reading(db, study_instance_uid)
    if not _is_due(study):
        if current is not None and current.state is UpsState.SCHEDULED:
            steps.cancel_unclaimed(db, now, _row(db, current), reason=_why_not(study))
        return
    if current is None or current.state.is_final:
        _make(db, now, policy, study, number=current.number + 1 if current else 1)
    else:
        said = _said(db, policy, study, begun=datetime.fromisoformat(current.created_at))
        changed = {tag: value for tag, value in said.items() if current.generated.get(tag) != value}
        if current.revision != study.revision:
            changed[INPUT] = element("SQ", *_input(db, policy, study))
        if changed:
            steps.change(db, now, _row(db, current), changed, tell_state=True)
            ups.record_generated(db, current.sop_instance_uid, said, revision=study.revision)


def sweep(db: Database, now: Instant, policy: Policy) -> None:
    """Put right what no rerank has told of, and forget what is old.

    Opens its own transactions.
    """
    settings = policy.settings
    unsettled = ups.unsettled_studies(db, limit=_SWEEP) if are_wanted(policy) else []
    for uid in unsettled:
        with db.transaction():
            schedule(db, now, policy, uid)
    steps_told.sweep(db, now, policy)
    before = (now.wall - timedelta(seconds=settings.ups.keep_s)).isoformat(timespec="microseconds")
    with db.transaction():
        ups.forget_final(db, before)
        lost = ups_watch.forget(db, frozenset(peer.name for peer in settings.peers), before)
        if lost:
            events.record(db, now, "ups", "", after="forgotten", reason=f"{lost} report(s) that nobody took in time")


def _row(db: Database, current: Reading) -> UpsRow:
    found = ups.step(db, current.sop_instance_uid)
    assert found is not None
    return found


def _is_due(study: StudyRow) -> bool:
    closed = study.revision > 0 and not study.early
    read = study.report_state is ReportState.FINAL
    return closed and not read and not study.prior and study.state is not StudyState.HELD


def _why_not(study: StudyRow) -> str:
    if study.report_state is ReportState.FINAL:
        return f"its report is final, told by {study.report_told_by}"
    return "it is held for a person" if study.state is StudyState.HELD else study.prior or "it receives again"


def _make(db: Database, now: Instant, policy: Policy, study: StudyRow, *, number: int) -> None:
    said = _said(db, policy, study, begun=now.wall)
    images = {INPUT: element("SQ", *_input(db, policy, study))}
    label = policy.settings.ups.worklist_label
    steps.create(
        db,
        now,
        UpsRow(
            sop_instance_uid=derived_uid("reading", study.study_instance_uid, number),
            state=UpsState.SCHEDULED,
            transaction_uid="",
            performer="",
            source="",
            issuer=study.patient.issuer,
            study_instance_uid=study.study_instance_uid,
            number=number,
            attributes=completed_creation(said | images, worklist_label=label),
            generated=said,
            created_at=now.iso,
            revision=study.revision,
        ),
        policy.settings,
    )


def _said(db: Database, policy: Policy, study: StudyRow, *, begun: datetime) -> Attributes:
    """What the step says of the study: the same as long as nothing of the study changes. `begun`: when it was made."""
    patient, order, settings = study.patient, study.order, policy.settings.ups
    expected_s = {
        Lane.STAT: settings.expected_stat_s,
        Lane.URGENT: settings.expected_urgent_s,
        Lane.ROUTINE: settings.expected_routine_s,
    }[study.lane]
    label = " ".join(filter(None, ("Read", study.modality, order.study_description)))
    return {
        **of_patient(patient),
        STUDY_INSTANCE_UID: element("UI", study.study_instance_uid),
        **of_request(study.study_instance_uid, study.order.accession_number),
        PRIORITY: element("CS", UPS_PRIORITY[study.lane]),
        WORKLIST_LABEL: element("LO", settings.worklist_label),
        STEP_LABEL: element("LO", label[:_LONGEST_LABEL].strip()),
        START: element("DT", steps.date_time(begun)),
        EXPECTED_COMPLETION: element("DT", steps.date_time(begun + timedelta(seconds=expected_s))),
        # Who watches it is told so, and looks it up anew.
        READINESS: element("CS", "UNAVAILABLE" if is_in_doubt(db, study) else "READY"),
        WORKITEM_CODE: element("SQ", coded("110005", "DCM", "Interpretation")),
        COMMENTS: element("LT", _comment(study)),
        PARAMETERS: element("SQ", _score(study)),
    }


def _comment(study: StudyRow) -> str:
    reasons = "; ".join(str(each.get("because", "")) for each in study.reasons)
    # A backslash would end the value.
    return f"{study.lane}: {reasons or 'nothing speaks for more'}".replace("\\", "/")[:_LONGEST_COMMENT]


def _score(study: StudyRow) -> Attributes:
    """A numeric content item (PS3.3 §10.2)."""
    return {
        "0040A040": element("CS", "NUMERIC"),
        "0040A043": element("SQ", _SCORE),
        "004008EA": element("SQ", _NO_UNITS),
        "0040A30A": element("DS", round(study.score, 3)),
    }


def _input(db: Database, policy: Policy, study: StudyRow) -> list[Attributes]:
    """Where the images are to be had (PS3.3 Table 10-3b), one item a series; none where we know of no archive."""
    names = instances.sources(db, study.study_instance_uid)
    sources = [peer for name in names if (peer := policy.settings.peer_named(name))]
    titles = {peer.ae_title for peer in sources if "archive" in peer.roles}
    told_to = {name for peer in sources for name in peer.results_to}
    titles |= {peer.ae_title for peer in policy.settings.peers if peer.name in told_to and "archive" in peer.roles}
    held = ups.images(db, study.study_instance_uid, limit=_MOST_INSTANCES + 1) if titles else []
    if len(held) > _MOST_INSTANCES:
        return []
    retrieval = [{"00080054": element("AE", title)} for title in sorted(titles)]
    by_series: dict[str, list[Attributes]] = {}
    for series, sop_class, instance in held:
        reference = {"00081150": element("UI", sop_class), "00081155": element("UI", instance)}
        by_series.setdefault(series, []).append(reference)
    return [
        {
            "0040E020": element("CS", "DICOM"),
            STUDY_INSTANCE_UID: element("UI", study.study_instance_uid),
            "0020000E": element("UI", series),
            "00081199": element("SQ", *references),
            "0040E021": element("SQ", *retrieval),
        }
        for series, references in by_series.items()
    ]
