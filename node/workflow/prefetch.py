"""Which earlier studies of a patient are fetched when a study closes, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

from node.config import RetrieveSettings
from node.domain.patient import Patient
from node.domain.retrieval import Purpose
from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.work import WorkKind
from node.store import events, identities, retrievals, studies, work_items
from node.store.database import Database
from node.store.retrievals import Retrieval
from node.store.studies import StudyRow
from node.workflow.policy import Policy

_DAY_S = 86_400.0


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
    if not settings.retrieve.priors or not any("archive" in peer.roles for peer in settings.peers):
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


def first_day(study: StudyRow, settings: RetrieveSettings) -> str:
    """The earliest date of a prior of this study, YYYYMMDD; empty where the study has no sound date."""
    made = _day(study.order.study_date)
    if made is None:
        return ""
    days = min(settings.priors_within_days, (made - date.min).days)
    return (made - timedelta(days=days)).strftime("%Y%m%d")


def why_not(study: StudyRow, modalities: Sequence[str], candidate: Candidate, settings: RetrieveSettings) -> str:
    """Say why a candidate is no prior of the study, as far as this can be told without a doubt; empty if it is one."""
    moment = (study.order.study_date, study.order.study_time[:6])
    if candidate.study_instance_uid == study.study_instance_uid:
        return "the study itself"
    if not candidate.study_date or (candidate.study_date, candidate.study_time[:6]) >= moment:
        return "not earlier"
    if candidate.study_date < first_day(study, settings):
        return "too long ago"
    if settings.priors_modalities == "same" and not set(candidate.modalities) & set(modalities):
        return "of another modality, or none told"
    return ""


def identity_conflict(db: Database, study: StudyRow, candidate: Candidate) -> str:
    """Say why a candidate may be another person's; empty if everything that both sides tell agrees.

    The issuers must be the same, or unknown on both sides: one number of two hospitals is two patients.
    """
    issuer = candidate.patient.issuer or candidate.issuer
    if issuer != study.patient.issuer:
        return "Issuer of Patient ID differs, or only one side tells it"
    return identities.difference(db, study.patient, replace(candidate.patient, issuer=issuer))


def wait_s(now: Instant, settings: RetrieveSettings, purpose: Purpose) -> float:
    """Seconds until a retrieval of this purpose may begin; 0 if it may now."""
    return until_hours_s(now, settings.priors_hours) if purpose is Purpose.PRIOR else 0.0


def until_hours_s(now: Instant, hours: tuple[time, time] | None) -> float:
    """Seconds until these hours of the local day begin; 0 within them."""
    if hours is None:
        return 0.0
    first, last = hours
    local = now.wall.astimezone()
    clock = local.time()
    inside = first <= clock < last if first < last else clock >= first or clock < last
    if inside:
        return 0.0
    begins = datetime.combine(local.date(), first, tzinfo=local.tzinfo)
    return (begins - local).total_seconds() % _DAY_S


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007  a calendar day, of no time zone
    except ValueError:
        return None
