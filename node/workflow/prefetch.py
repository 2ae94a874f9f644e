"""Which earlier studies of a patient are fetched when a study closes, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import time, tzinfo

from node.config import Settings
from node.domain.patient import Patient
from node.domain.retrieval import Purpose
from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.work import WorkHours, WorkKind
from node.store import events, identities, instances, prior_candidates, retrievals, studies, work_items
from node.store.database import Database
from node.store.prior_candidates import PriorCandidate
from node.store.retrievals import Retrieval
from node.store.studies import StudyRow
from node.triage.nights import hour_of
from node.triage.priors import Current, Standing, Verdict
from node.workflow import night_hours
from node.workflow.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A study that an archive holds, as it describes it; absent text is ""."""

    study_instance_uid: str
    #: Name of the archive, and the issuer of Patient ID where it tells none.
    archive: str
    issuer: str
    patient: Patient
    #: YYYYMMDD, and HHMMSS as far as it is told.
    study_date: str
    study_time: str
    modalities: tuple[str, ...]


def ask_for_priors(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> None:
    """Have archives asked for earlier studies of the patient, once a study, in the transaction that closes it.

    Nothing is asked for a patient who is not identified, nor for a study that is held or a prior itself.
    """
    settings = policy.settings
    if not settings.retrieve.selectors or not any("archive" in peer.roles for peer in settings.peers):
        return
    study = studies.study(db, study_instance_uid)
    if study is None or study.state is StudyState.HELD or not study.patient.is_identified:
        return
    if not retrievals.is_prior(db, study_instance_uid):
        work_items.add(db, now, WorkKind.PRIORS, study_instance_uid, study_instance_uid)


def read_if_asked(db: Database, now: Instant, retrieval: Retrieval) -> None:
    """Let a study be looked at again that a person asks for and that lies here as a prior, which nothing reads."""
    study = studies.study(db, retrieval.study_instance_uid)
    if retrieval.purpose is not Purpose.ASKED or study is None or study.open or not study.prior:
        return
    studies.request_closing(db, study.study_instance_uid)
    text = "a person asked an archive for it"
    uid = study.study_instance_uid
    events.record(db, now, "operation", uid, after="asked", reason=text, study=uid)


def current(db: Database, study: StudyRow) -> Current:
    """The study as the selection of its priors looks at it."""
    modalities, body_parts = instances.kinds(db, study.study_instance_uid)
    return Current(
        study_instance_uid=study.study_instance_uid,
        study_date=study.order.study_date,
        study_time=study.order.study_time,
        # Of a study that is still to come only what it was ordered as is known.
        modalities=modalities or tuple(filter(None, (study.modality,))),
        body_parts=body_parts,
        study_description=study.order.study_description,
    )


def take(
    db: Database, now: Instant, study: StudyRow, candidates: Sequence[Candidate], found: Sequence[Verdict]
) -> None:
    """Keep every verdict, and have those studies fetched that are taken; in the caller's transaction."""
    told = {each.study_instance_uid: each for each in candidates}
    uid = study.study_instance_uid
    rows = []
    for verdict in found:
        each = told[verdict.study_instance_uid]
        rows.append(
            PriorCandidate(
                study_instance_uid=each.study_instance_uid,
                archive=each.archive,
                study_date=each.study_date,
                modalities=", ".join(each.modalities),
                standing=verdict.standing,
                selector=verdict.selector,
                reason=verdict.reason,
            )
        )
        if verdict.standing is Standing.TAKEN:
            candidate, wanted = each.study_instance_uid, verdict.wanted
            retrievals.record(db, now, candidate, each.archive, Purpose.PRIOR, wanted_for=uid, wanted=wanted)
        elif verdict.standing is Standing.UNCONFIRMED:
            text = f"a study of this Patient ID at {each.archive} is not fetched as a prior: {verdict.reason}"
            after = "not fetched"
            events.record(db, now, "retrieval", each.study_instance_uid, after=after, reason=text, study=uid)
    prior_candidates.record(db, now, uid, rows)


def put_off(db: Database, study_instance_uid: str) -> None:
    """Have the priors of a study that has not come yet fetched in spare time, in the caller's transaction."""
    for each in retrievals.wanted_for(db, study_instance_uid):
        if each.is_open:
            work_items.put_off(db, WorkKind.FETCH, retrievals.subject_of(each), WorkHours.SPARE)


def identity_conflict(db: Database, study: StudyRow, candidate: Candidate) -> str:
    """Say why a candidate may be another person's; empty if everything that both sides tell agrees.

    The issuers must be the same, or unknown on both sides: one number of two hospitals is two patients.
    """
    issuer = candidate.patient.issuer or candidate.issuer
    if issuer != study.patient.issuer:
        return "Issuer of Patient ID differs, or only one side tells it"
    return identities.difference(db, study.patient, replace(candidate.patient, issuer=issuer))


def wait_s(now: Instant, settings: Settings, purpose: Purpose, hours: WorkHours = WorkHours.ANY) -> float:
    """Seconds until a retrieval of this purpose may begin; 0 if it may now."""
    if hours is WorkHours.NIGHT:
        return night_hours.until_night_s(now, settings)
    return until_hours_s(now, settings.retrieve.priors_hours, settings.night.zone) if purpose is Purpose.PRIOR else 0.0


def until_hours_s(now: Instant, hours: tuple[time, time] | None, zone: tzinfo | None = None) -> float:
    """Seconds until these hours of the site's day begin; 0 within them."""
    if hours is None:
        return 0.0
    found = hour_of(now.wall, hours, zone)
    return 0.0 if found.inside else (found.boundary_at - now.wall).total_seconds()
