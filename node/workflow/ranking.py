"""Ranking: the place of a study, found anew whenever a fact has changed, in that fact's transaction."""

from __future__ import annotations

from dataclasses import replace

from node.domain.report_state import ReportState
from node.domain.time import Instant
from node.domain.work import OutcomeState
from node.store import events, findings, history, instances, outcomes, reading_list, studies
from node.store.database import Database
from node.store.studies import StudyRow
from node.triage.facts import ModelResult, RankFacts
from node.triage.rank import rank
from node.workflow import listing
from node.workflow.policy import Policy


def rerank(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> None:
    """Find the study's lane, score and reasons from everything that is known now; note it if they changed.

    A prior raises nothing, whatever its order or history say; what a radiologist has reported stays where it was.
    """
    study = studies.study(db, study_instance_uid)
    if study is None or study.report_state is ReportState.FINAL:
        return
    facts, asked = _facts(db, study), policy.rules
    if study.prior:
        facts, asked = replace(facts, requested_priority=""), ()
    ranking = rank(facts, asked, points_per_minute=policy.settings.rank.points_per_minute)
    reading_list.record_rank(
        db,
        study_instance_uid,
        lane=ranking.lane,
        score=ranking.score,
        sort_key=ranking.sort_key,
        reasons=ranking.reason_rows,
    )
    before, after = _shown(study.lane, study.score), _shown(ranking.lane, ranking.score)
    if before != after:
        reason = "; ".join(each.because for each in ranking.reasons)
        rules = ", ".join(each.rule for each in ranking.reasons)
        events.record(
            db,
            now,
            "rank",
            rules,
            before=before,
            after=after,
            reason=reason or "nothing speaks for more",
            study=study_instance_uid,
        )
    listing.tell(db, now, policy, study_instance_uid)


def _facts(db: Database, study: StudyRow) -> RankFacts:
    uid = study.study_instance_uid
    modalities, body_parts = instances.kinds(db, uid)
    return RankFacts(
        study_instance_uid=uid,
        arrived_at=study.first_received.wall,
        hour_of_day=study.first_received.wall.astimezone().hour,
        modalities=modalities,
        body_parts=body_parts,
        study_description=study.order.study_description,
        patient_age_years=study.order.patient_age_years,
        patient_sex=study.patient.sex,
        requested_priority=study.order.requested_priority,
        history=tuple(history.facts(db, study.patient, study=uid)),
        results=tuple(
            ModelResult(model=outcome.model, mode=outcome.mode, findings=tuple(findings.of_outcome(db, outcome.id)))
            for outcome in outcomes.current(db, uid)
            if outcome.state is OutcomeState.RESULT
        ),
    )


def _shown(lane: str, score: float) -> str:
    return f"{lane} {score:g}"
