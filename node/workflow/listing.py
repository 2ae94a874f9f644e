"""The reading list of others: what each route is told of a study, and whether it may leave when its turn comes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from node.config import Route
from node.domain.finding import Finding
from node.domain.model_card import Mode
from node.domain.notice import ALERTS, STANDING, Flag, FlaggedFinding, NoticeKind, NoticeState
from node.domain.patient import conflict, doubt
from node.domain.priority import lane_of_requested_priority
from node.domain.report_state import ReportState
from node.domain.rule import ORDER
from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.work import OutcomeState
from node.store import acknowledgements, findings, identities, notices, outcomes, studies
from node.store.database import Database
from node.store.notices import Notice
from node.store.outcomes import Outcome
from node.store.studies import StudyRow
from node.triage.telling import RANK, URGENT, why_tell
from node.workflow.hearers import hearers
from node.workflow.policy import Policy

#: Outcomes of a model that was meant to read and did not.
_FAILURES = frozenset({OutcomeState.FAILED, OutcomeState.INCOMPLETE})
_IN_DOUBT = "an earlier notice may or may not have arrived"


@dataclass(frozen=True, slots=True)
class NoticeGate:
    """What the gate decides: SENT lets a notice out, QUEUED has it wait, HELD and SUPERSEDED stop it."""

    state: NoticeState
    reason: str

    @property
    def is_open(self) -> bool:
        """Whether the notice may leave now."""
        return self.state is NoticeState.SENT


def tell(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> None:
    """Queue a notice for every route that is to hear what is known of a study now; in the caller's transaction.

    Nothing is told of priors, of held studies, and of what a radiologist has reported. Studies of one accession number
    are told of together, under the one that came first: a worklist has one line for them.
    """
    if not policy.settings.routes:
        return
    study = studies.study(db, study_instance_uid)
    if study is None:
        return
    line = line_of(db, study)
    allowed = {each.study_instance_uid: routes_of(db, policy, each.study_instance_uid) for each in line}
    for route in policy.settings.routes:
        if route.keeps_steps:
            continue
        told_of = [each for each in line if may_be_told(each) and route.name in allowed[each.study_instance_uid]]
        if told_of:
            _tell_route(
                db, now, route, flag_of(db, policy, line[0].study_instance_uid, told_of), last_received(told_of)
            )


def routes_of(db: Database, policy: Policy, study_instance_uid: str) -> frozenset[str]:
    """Names of the routes that may hear of a study, as `flags_to` of its sources lists them."""
    return hearers(db, policy.settings, study_instance_uid)


def flag_of(db: Database, policy: Policy, line: str, told_of: Sequence[StudyRow]) -> Flag:
    """What is known of the studies of one line of a worklist; the most urgent of them speaks for all."""
    first = min(told_of, key=lambda each: (each.lane.order, -each.sort_key, each.study_instance_uid))
    current = [
        outcome
        for each in told_of
        for outcome in outcomes.current(db, each.study_instance_uid)
        if is_live(policy, outcome)
    ]
    read = [outcome for outcome in current if outcome.state is OutcomeState.RESULT]
    return Flag(
        study_instance_uid=line,
        patient=first.patient,
        accession_number=first.order.accession_number,
        study_date=first.order.study_date,
        study_time=first.order.study_time,
        study_description=first.order.study_description,
        modality=first.modality,
        ordered_lane=lane_of_requested_priority(first.order.requested_priority),
        ordered_score=sum(float(str(each["points"])) for each in first.reasons if each["rule"] == ORDER),
        lane=first.lane,
        score=first.score,
        reasons=tuple(dict.fromkeys(str(reason["because"]) for reason in first.reasons)),
        findings=tuple(
            flagged for outcome in read for flagged in _flagged(outcome.model, findings.of_outcome(db, outcome.id))
        ),
        failures=tuple((each.model, each.reason) for each in current if each.state in _FAILURES),
        told_of=tuple(each.study_instance_uid for each in told_of),
    )


def gate(db: Database, policy: Policy, notice: Notice) -> NoticeGate:
    """Decide, just before sending, whether a notice may still leave: SENT lets it, QUEUED has it wait."""
    if notice.flag.over:
        return NoticeGate(NoticeState.SENT, "")
    uids = notice.flag.told_of or (notice.study_instance_uid,)
    found = [study for uid in uids if (study := studies.study(db, uid)) is not None]
    if len(found) < len(uids):
        return NoticeGate(NoticeState.SUPERSEDED, "the study is no longer here")
    kind = notice.flag.kind
    if kind is NoticeKind.WITHDRAWN:
        return _gate_of_withdrawn(policy, notice, found)
    if kind is not NoticeKind.DISCREPANCY and all(study.report_state is ReportState.FINAL for study in found):
        return NoticeGate(NoticeState.SUPERSEDED, "the study has been read and reported")
    if kind in ALERTS and not _is_awaited(db, policy, notice, found):
        return NoticeGate(NoticeState.SUPERSEDED, "somebody has seen to it")
    for study in found:
        stopped = _stopped(db, policy, notice, study)
        if stopped is not None:
            return stopped
    silent = [each.model for each in notice.flag.findings if not _is_model_live(policy, each.model)]
    if silent:
        return NoticeGate(NoticeState.HELD, f"the model {silent[0]} is not live; set [models.{silent[0]}] mode")
    return NoticeGate(NoticeState.SENT, "")


def _gate_of_withdrawn(policy: Policy, notice: Notice, found: Sequence[StudyRow]) -> NoticeGate:
    """That nothing counts which was told goes where it was told, with the identity that was told, while it is true."""
    if any(study.released for study in found):
        return NoticeGate(NoticeState.QUEUED, "the study was released; waits until it has been looked at again")
    if any(study.state is not StudyState.HELD for study in found):
        return NoticeGate(NoticeState.SUPERSEDED, "the study is held no longer")
    if not any(notice.route in peer.flags_to for peer in policy.settings.peers):
        return NoticeGate(NoticeState.HELD, f"no flags_to lists {notice.route}")
    return NoticeGate(NoticeState.SENT, "")


def _is_awaited(db: Database, policy: Policy, notice: Notice, found: Sequence[StudyRow]) -> bool:
    """Whether an alert still has something to say; to a route that is told of ranks it says where the study stands."""
    route = policy.settings.route_named(notice.route)
    if notice.flag.kind is NoticeKind.ESCALATION and route is not None and {RANK, URGENT} & set(route.tells_when):
        return True
    after_report = notice.flag.kind is NoticeKind.DISCREPANCY
    waiting = (row for study in found for row in acknowledgements.waiting(db, study.study_instance_uid))
    return any(row.after_report is after_report for row in waiting)


def _stopped(db: Database, policy: Policy, notice: Notice, study: StudyRow) -> NoticeGate | None:
    """What stops a notice of one of the studies that it is gathered from; `None` if nothing does."""
    if study.prior:
        return NoticeGate(NoticeState.SUPERSEDED, "the study is a prior")
    if study.state is StudyState.HELD:
        return NoticeGate(NoticeState.HELD, f"the study is held: {study.reason}")
    if study.released:
        return NoticeGate(NoticeState.QUEUED, "the study was released; waits until it has been looked at again")
    difference = conflict(notice.flag.patient, study.patient)
    if not difference and identities.is_disputed(db, study.patient):
        difference = "the hospital's system says that the Patient ID is somebody else's"
    if difference:
        return NoticeGate(NoticeState.HELD, f"it names another patient than the study does now: {difference}")
    if notice.flag.accession_number != study.order.accession_number:
        return NoticeGate(NoticeState.HELD, "it names another accession number than the study does now")
    if notice.route not in routes_of(db, policy, study.study_instance_uid):
        return NoticeGate(NoticeState.HELD, f"flags_to of where the study came from does not list {notice.route}")
    return None


def tell_again(db: Database, now: Instant, policy: Policy, route: str, *, since: str) -> list[str]:
    """Queue what stands of every study that a route was told of since then, as new notices; return their studies.

    For a receiver that has lost what it was told. Opens its own transactions.
    """
    told: list[str] = []
    for notice in notices.newest_of_route(db, route, since=since):
        with db.transaction():
            if notice.acknowledged_at and gate(db, policy, notice).is_open:
                because = "a person has it told again"
                notices.add(db, now, route=route, flag=notice.flag, received=notice.received, because=because)
                told.append(notice.study_instance_uid)
    return told


def retry(db: Database, now: Instant, study_instance_uid: str) -> list[str]:
    """Queue again what is dead or held of a study's notices; in the caller's transaction. Returns what was done."""
    again = [each for each in notices.of_study(db, study_instance_uid) if each.state in _ASIDE]
    return [
        f"the notice to {each.route} is sent again"
        for each in again
        if notices.move(db, now, each, NoticeState.QUEUED, "retry asked for")
    ]


_ASIDE = (NoticeState.DEAD, NoticeState.HELD)


def is_live(policy: Policy, outcome: Outcome) -> bool:
    """Whether what a model found may be told: it was live when it read, and still is."""
    return outcome.mode is Mode.LIVE and _is_model_live(policy, outcome.model)


def _is_model_live(policy: Policy, model: str) -> bool:
    settings = policy.settings.models.get(model)
    return settings is not None and settings.mode is Mode.LIVE


def line_of(db: Database, study: StudyRow) -> list[StudyRow]:
    """The studies that one line of a worklist stands for, first received first: those of one accession number."""
    if not study.order.accession_number or not study.patient.is_identified:
        return [study]
    uids = notices.studies_of_accession(db, study.patient, study.order.accession_number)
    found = (studies.study(db, uid) for uid in uids)
    # Who is not surely the same patient has a line of their own.
    same = [each for each in found if each is not None and not doubt(each.patient, study.patient)]
    return [each for each in same if not each.prior] or [study]


def may_be_told(study: StudyRow) -> bool:
    """Whether reading lists may hear of a study at all."""
    return bool(
        study.revision
        and not study.prior
        and study.state is not StudyState.HELD
        and study.report_state is not ReportState.FINAL
    )


def last_received(told_of: Iterable[StudyRow]) -> Instant:
    """When the last instance of any of these studies had come."""
    return max((each.last_received for each in told_of), key=lambda each: each.wall)


def _tell_route(db: Database, now: Instant, route: Route, flag: Flag, received: Instant) -> None:
    study = flag.study_instance_uid

    def why(before: Flag | None) -> str:
        return why_tell(before, flag, when=route.tells_when, lanes=route.lanes, score_step=route.score_step)

    told = [each for each in notices.of_study(db, study) if each.route == route.name]
    standing = next((each for each in reversed(told) if each.state in STANDING), None)
    is_taken_back = standing is not None and standing.flag.kind is NoticeKind.WITHDRAWN
    if standing is not None and not is_taken_back and not why(standing.flag):
        if standing.state is NoticeState.HELD:
            # Whatever held it may have passed: the gate decides anew.
            notices.move(db, now, standing, NoticeState.QUEUED, "the study was looked at again")
        return
    # What the receiver may have: of a dead one it has said that it does not.
    gone = [each for each in told if each.sent_at and each.state is not NoticeState.DEAD]
    last = gone[-1] if gone else None
    because = why(last.flag if last else None)
    if not because and last is not None and not last.acknowledged_at:
        because = _IN_DOUBT
    if standing is not None and standing.flag.kind in ALERTS and not standing.sent_at:
        # Whoever has not heard of it yet hears of it now.
        flag = _with_alert(flag, standing.flag)
        because = "; ".join(part for part in (standing.because, because) if part)
    if because:
        notices.add(db, now, route=route.name, flag=flag, received=received, because=because)
    elif standing is not None:
        notices.supersede(db, now, study, route.name, "what the receiver was told before is true again")


def _with_alert(flag: Flag, alert: Flag) -> Flag:
    """What is told of a line now, and the alert that has not left yet; a discrepancy is of a study that is reported."""
    if alert.kind is NoticeKind.ESCALATION:
        return replace(flag, kind=alert.kind)
    findings_of_both = tuple(dict.fromkeys((*alert.findings, *flag.findings)))
    told_of = tuple(dict.fromkeys((*alert.told_of, *flag.told_of)))
    return replace(flag, kind=alert.kind, findings=findings_of_both, told_of=told_of)


def _flagged(model: str, found: Sequence[Finding]) -> list[FlaggedFinding]:
    """Findings that are not denied, one of each code and side."""
    groups: dict[tuple[str, str, str, bool | None], list[Finding]] = {}
    for each in found:
        if each.present is not False:
            side = each.laterality.meaning if each.laterality else ""
            groups.setdefault((each.code.value, each.code.scheme, side, each.present), []).append(each)
    return [
        FlaggedFinding(
            model=model,
            code=members[0].code,
            probability=max((one.probability for one in members if one.probability is not None), default=None),
            present=present,
            laterality=side,
            count=len(members),
            sentence=members[0].sentence,
        )
        for (_, _, side, present), members in groups.items()
    ]
