"""Work items `priors`: which earlier studies of a patient the archives hold; each found is fetched as a prior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from node.config import Peer, Settings
from node.config.priors import PriorSelector
from node.domain.time import Clock
from node.domain.work import WorkKind
from node.errors import Failed
from node.loop import Handling
from node.retrieve import calls
from node.retrieve.found import FoundStudy
from node.retrieve.inquiry import answers, handling_of
from node.retrieve.keys import StudyKeys
from node.retrieve.question import Reply, SeriesQuery, StudyQuery
from node.store import events, identities, retrievals, studies, work_items
from node.store.database import Database
from node.store.studies import StudyRow
from node.store.work_items import WorkItem
from node.triage.priors import Current, Offered, Standing, Verdict, applying, first_day, to_look_into, verdicts
from node.workflow import expecting, prefetch
from node.workflow.prefetch import Candidate

#: Asks one archive which studies match, or which series one has.
Ask = Callable[[StudyQuery | SeriesQuery], Reply]


class Priors:
    """Work items `priors`: each is asked of every archive."""

    def __init__(self, db: Database, clock: Clock, settings: Settings, ask: Ask) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._ask = ask

    def handling(self) -> Handling:
        """How the loop treats these items."""
        return handling_of(
            self._db, self._clock, WorkKind.PRIORS, self.handle, lambda item, error: self._finish(item, str(error))
        )

    def handle(self, item: WorkItem) -> None:
        """Ask, and have the newest priors fetched in the transaction that finishes the item.

        Raises:
            Failed: the study is such that nothing may be asked.
            Transient: an archive does not answer now, and has been asked fewer than three times.
        """
        study = expecting.study_of(self._db, item.study_instance_uid, self._settings.night.zone)
        if study is None or not study.patient.is_identified:
            raise Failed("nobody is identified to ask for")
        current = prefetch.current(self._db, study)
        selectors = applying(current, self._settings.retrieve.selectors)
        if not selectors:
            raise Failed("no selector is meant for this study")
        since = first_day(study.order.study_date, selectors)
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
        found = list({one.study_instance_uid: one for each, _ in told_of for one in each}.values())
        decided = self._verdicts(item, study, current, selectors, found)
        with self._db.transaction():
            now = self._clock.now()
            taken = sum(each.standing is Standing.TAKEN for each in decided)
            if work_items.finish(self._db, now, item, "; ".join([f"{taken} prior(s) asked for", *problems])):
                prefetch.take(self._db, now, study, found, decided)
                if item.subject.startswith(expecting.BEFORE_IT_COMES):
                    prefetch.put_off(self._db, study.study_instance_uid)

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

    def _verdicts(
        self,
        item: WorkItem,
        study: StudyRow,
        current: Current,
        selectors: Sequence[PriorSelector],
        found: Sequence[Candidate],
    ) -> list[Verdict]:
        """What becomes of each; those that are here already count, and are not fetched again."""
        doubts = {
            each.study_instance_uid: difference
            for each in found
            if (difference := prefetch.identity_conflict(self._db, study, each))
        }
        offered = [_offered(each) for each in found]
        sure = [each for each in offered if each.study_instance_uid not in doubts]
        archives = {each.study_instance_uid: each.archive for each in found}
        parts = {uid: self._body_parts(item, archives[uid], uid) for uid in to_look_into(current, sure, selectors)}
        offered = [replace(each, body_parts=parts.get(each.study_instance_uid, ())) for each in offered]
        # Of one of which only a part was ever asked for more may be wanted now; what is here of it stays here.
        here = [
            each
            for each in archives
            if studies.study(self._db, each) is not None and not retrievals.is_of_part(self._db, each)
        ]
        return verdicts(current, offered, selectors, doubts=doubts, here=frozenset(here))

    def _body_parts(self, item: WorkItem, archive: str, study_instance_uid: str) -> tuple[str, ...]:
        """The body parts of a candidate; none where the archive does not tell them."""
        peers = [each for each in calls.archives(self._settings) if each.name == archive]
        query = partial(calls.series_query, self._settings, study_instance_uid=study_instance_uid)
        for _, reply in answers(self._db, item, peers, lambda peer: self._ask(query(peer))):
            if not isinstance(reply, str):
                return tuple(sorted({each.body_part for each in reply.series if each.body_part}))
        return ()

    def _note(self, study: str, subject: str, reason: str) -> None:
        with self._db.transaction():
            events.record(
                self._db, self._clock.now(), "retrieval", subject, after="not fetched", reason=reason, study=study
            )

    def _finish(self, item: WorkItem, reason: str) -> None:
        work_items.finish(self._db, self._clock.now(), item, f"{reason}; no prior is fetched")


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


def _offered(each: Candidate) -> Offered:
    return Offered(
        study_instance_uid=each.study_instance_uid,
        study_date=each.study_date,
        study_time=each.study_time,
        modalities=each.modalities,
    )
