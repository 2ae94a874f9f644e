"""Work items `priors`: which earlier studies of a patient the archives hold; each found is fetched as a prior."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from node.config import Peer, Settings
from node.domain.retrieval import Purpose
from node.domain.time import Clock
from node.domain.work import WorkKind
from node.errors import Failed
from node.loop import Handling
from node.retrieve import calls
from node.retrieve.answers import FoundStudy
from node.retrieve.counts import OWNER
from node.retrieve.inquiry import answers
from node.retrieve.keys import StudyKeys
from node.retrieve.question import Reply, StudyQuery
from node.store import events, identities, instances, retrievals, studies, work_items
from node.store.database import Database
from node.store.studies import StudyRow
from node.store.work_items import WorkItem
from node.workflow import prefetch
from node.workflow.prefetch import Candidate

_LEASE_S = 60.0

#: Asks one archive which studies match.
Ask = Callable[[StudyQuery], Reply]


class Priors:
    """Work items `priors`: each is asked of every archive."""

    def __init__(self, db: Database, clock: Clock, settings: Settings, ask: Ask) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._ask = ask

    def handling(self) -> Handling:
        """How the loop treats these items."""
        return Handling(
            kind=WorkKind.PRIORS,
            owner=f"{OWNER}{os.getpid()}",
            lease_s=_LEASE_S,
            handle=self.handle,
            reject=lambda item, error: self._finish(item, str(error)),
            died=self._died,
        )

    def handle(self, item: WorkItem) -> None:
        """Ask, and have the newest priors fetched in the transaction that finishes the item.

        Raises:
            Failed: the study is such that nothing may be asked.
            Transient: an archive does not answer now, and has been asked fewer than three times.
        """
        study = studies.study(self._db, item.study_instance_uid)
        if study is None or not study.patient.is_identified:
            raise Failed("nobody is identified to ask for")
        since = prefetch.first_day(study, self._settings.retrieve)
        if not since:
            raise Failed("the study has no date that others could be earlier than")
        keys = StudyKeys(
            patient_id=study.patient.patient_id,
            issuer=study.patient.issuer,
            since=since,
            until=study.order.study_date,
        )
        # One who was merged is looked for under every ID: archives merge at times of their own.
        asked = [replace(keys, patient_id=each) for each in identities.identifiers(self._db, study.patient)]
        told_of = [self._found(item, each) for each in asked]
        problems = list(dict.fromkeys(problem for _, each in told_of for problem in each))
        wanted = self._wanted(
            study, list({one.study_instance_uid: one for each, _ in told_of for one in each}.values())
        )
        with self._db.transaction():
            now = self._clock.now()
            told = f"{len(wanted)} prior(s) asked for"
            if not work_items.finish(self._db, now, item, "; ".join([told, *problems])):
                return
            for each in wanted:
                uid, source = each.study_instance_uid, study.study_instance_uid
                retrievals.record(self._db, now, uid, each.archive, Purpose.PRIOR, wanted_for=source)

    def _found(self, item: WorkItem, keys: StudyKeys) -> tuple[list[Candidate], list[str]]:
        """Every study that an archive tells for the patient, each once, and why an archive told nothing."""
        found: dict[str, Candidate] = {}
        problems: list[str] = []
        archives = calls.archives(self._settings)
        for peer, reply in answers(
            self._db, item, archives, lambda peer: self._ask(calls.study_query(self._settings, peer, keys))
        ):
            if isinstance(reply, str):
                problems.append(reply)
                continue
            for study in reply.studies:
                found.setdefault(study.study_instance_uid, _candidate(peer, study))
            for reason, number in reply.disbelieved.items():
                self._note(item.study_instance_uid, peer.name, f"{number} answer(s) not believed: {reason}")
        return list(found.values()), problems

    def _wanted(self, study: StudyRow, found: list[Candidate]) -> list[Candidate]:
        """The newest that are to be fetched; those that are here already count, and are not fetched again."""
        settings = self._settings.retrieve
        modalities, _ = instances.kinds(self._db, study.study_instance_uid)
        kept: list[Candidate] = []
        newest = sorted(found, key=lambda each: (each.study_date, each.study_time), reverse=True)
        for each in newest:
            if len(kept) == settings.priors or prefetch.why_not(study, modalities, each, settings):
                continue
            difference = prefetch.identity_conflict(self._db, study, each)
            if difference:
                text = f"a study of this Patient ID at {each.archive} is not fetched as a prior: {difference}"
                self._note(study.study_instance_uid, each.study_instance_uid, text)
                continue
            kept.append(each)
        return [each for each in kept if studies.study(self._db, each.study_instance_uid) is None]

    def _note(self, study: str, subject: str, reason: str) -> None:
        with self._db.transaction():
            events.record(
                self._db, self._clock.now(), "retrieval", subject, after="not fetched", reason=reason, study=study
            )

    def _finish(self, item: WorkItem, reason: str) -> None:
        work_items.finish(self._db, self._clock.now(), item, f"{reason}; no prior is fetched")

    def _died(self, item: WorkItem, reason: str) -> None:
        work_items.give_up_or_retry(self._db, self._clock.now(), item, reason)


def _candidate(peer: Peer, found: FoundStudy) -> Candidate:
    return Candidate(
        study_instance_uid=found.study_instance_uid,
        archive=peer.name,
        issuer=peer.issuer,
        patient=found.patient,
        study_date=found.study_date,
        study_time=found.study_time,
        modalities=found.modalities,
    )
