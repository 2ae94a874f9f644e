"""`fetch`: studies asked of archives by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.commands.output import print_json, say, table
from node.commands.site import config_file, opened, settings_from
from node.config import Peer, Settings
from node.domain.retrieval import Purpose, RetrievalState
from node.domain.time import SystemClock
from node.errors import Failed, Misconfigured, Transient
from node.loop import Stop
from node.retrieve import calls
from node.retrieve.asking import CHILD, ask
from node.retrieve.found import FoundStudy
from node.retrieve.keys import StudyKeys
from node.retrieve.question import Reply, StudyQuery
from node.store import retrievals
from node.store.database import Database
from node.store.occupancy import RETRIEVE_LOCK, is_occupied
from node.store.retrievals import Retrieval

_POLL_S = 0.5
_NOT_SERVED = "the retrieve room does not run: nothing comes until `matins serve` does"

Ask = Callable[[StudyQuery], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person asked for, as on the command line."""

    accession_number: str = ""
    study_instance_uid: str = ""
    since: str = ""
    until: str = ""
    modality: str = ""
    #: Name of the one archive to ask; empty asks all.
    archive: str = ""

    def keys(self) -> StudyKeys:
        """The keys of the query; dates may be written with hyphens.

        Raises:
            Misconfigured: an option is missing or wrong.
        """
        given = {
            "--accession": self.accession_number,
            "--study": self.study_instance_uid,
            "--since": self.since,
        }
        named = [option for option, value in given.items() if value]
        if len(named) != 1:
            remedy = "Give one of --accession NUMBER, --study UID and --since DATE"
            raise Misconfigured("matins fetch", "", "it is not said what to fetch", remedy)
        try:
            return StudyKeys(
                accession_number=self.accession_number,
                study_instance_uid=self.study_instance_uid,
                since=self.since.replace("-", ""),
                until=self.until.replace("-", ""),
                modality=self.modality,
            )
        except Failed as error:
            raise Misconfigured(
                "matins fetch", named[0], str(error), "Nothing was asked; give the whole value"
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One study that an archive holds."""

    archive: str
    study: FoundStudy


def fetch(config: Path | None, data: Path | None, wanted: Wanted, *, dry_run: bool, wait: bool, as_json: bool) -> int:
    """Ask the archives, list what matches, and have it fetched; return the exit code.

    Raises:
        Misconfigured: an option is wrong, or no archive is configured.
        Failed: nothing matches, or no archive answers.
    """
    keys = wanted.keys()
    settings = settings_from(config, data)
    archives = archives_meant(settings, config_file(config), wanted.archive)
    matches, problems = find(settings, archives, keys, lambda query: ask(CHILD, query, Stop(), lambda: None))
    for problem in problems:
        if not as_json:
            say(f"warning: {problem}")
    if not matches:
        raise Failed("; ".join(problems) or f"no study matches at {', '.join(peer.name for peer in archives)}")
    with opened(settings) as db:
        made = [] if dry_run else request(db, settings, matches)
        serving = is_occupied(settings.data.folder, RETRIEVE_LOCK)
        if not as_json:
            _list(matches)
        if made and wait and serving:
            made = _wait(db, made, settings, quiet=as_json)
        if as_json:
            print_json(_told(matches, made, problems, dry_run=dry_run, serving=serving))
        elif made:
            _tell(made, serving=serving, wait=wait)
        return _exit_code(made, serving=serving, wait=wait)


def archives_meant(settings: Settings, file: Path, name: str) -> list[Peer]:
    """The archives to ask.

    Raises:
        Misconfigured: there is none, or none of that name.
    """
    archives = calls.archives(settings)
    if not archives:
        remedy = 'Give the archive a section [[peers]] with roles = ["source", "archive"], host, port and addresses'
        raise Misconfigured(file, "peers.roles", "no peer is an archive, so there is nobody to fetch from", remedy)
    if not name:
        return archives
    meant = [peer for peer in archives if peer.name == name]
    if not meant:
        known = ", ".join(peer.name for peer in archives)
        raise Misconfigured("matins fetch", "--from", f"no archive is called {name}", f"Name one of: {known}")
    return meant


def find(settings: Settings, archives: Sequence[Peer], keys: StudyKeys, asked: Ask) -> tuple[list[Match], list[str]]:
    """Ask each archive; return each study once, from the first archive that holds it, and why others say nothing.

    Raises:
        Failed: more studies match than may be fetched at once.
    """
    found: dict[str, Match] = {}
    problems: list[str] = []
    for peer in archives:
        try:
            reply = asked(calls.study_query(settings, peer, keys))
        except (Failed, Transient) as error:
            problems.append(str(error))
            continue
        for reason, number in reply.disbelieved.items():
            problems.append(f"{peer.name}: {number} answer(s) not believed: {reason}")
        for study in reply.studies:
            found.setdefault(study.study_instance_uid, Match(archive=peer.name, study=study))
    if len(found) > settings.retrieve.most_studies:
        raise Failed(f"more than {settings.retrieve.most_studies} studies match; ask for less at a time")
    return sorted(found.values(), key=lambda each: (each.study.study_date, each.study.study_time)), problems


def request(db: Database, settings: Settings, matches: Sequence[Match]) -> list[Retrieval]:
    """Have every match fetched, all or none."""
    now = SystemClock().now()
    assert {match.archive for match in matches} <= {peer.name for peer in settings.peers}
    with db.transaction():
        return [
            retrievals.record(db, now, match.study.study_instance_uid, match.archive, Purpose.ASKED)
            for match in matches
        ]


def _wait(db: Database, made: Sequence[Retrieval], settings: Settings, *, quiet: bool) -> list[Retrieval]:
    """Wait until everything is over, or nobody works on it any more; say what moves."""
    said: dict[int, str] = {}
    while True:
        current = [found for each in made if (found := retrievals.retrieval(db, each.id)) is not None]
        for each in current:
            line = f"{each.study_instance_uid} from {each.peer}: {_standing(each)}"
            if not quiet and said.get(each.id) != line:
                said[each.id] = line
                say(line)
        if not any(each.is_open for each in current) or not is_occupied(settings.data.folder, RETRIEVE_LOCK):
            return current
        time.sleep(_POLL_S)


def _standing(each: Retrieval) -> str:
    counted = f" {each.held} of {each.expected} instances" if each.expected is not None else ""
    reason = f" ({each.reason})" if each.reason else ""
    return f"{each.state.value}{counted}{reason}"


def _list(matches: Sequence[Match]) -> None:
    headings = ("date", "modalities", "patient", "description", "accession", "instances", "archive", "study")
    rows = []
    for match in matches:
        study = match.study
        instances = "" if study.instances is None else str(study.instances)
        patient = study.patient.name.replace("^", " ").strip()
        names = ", ".join(study.modalities)
        about = (study.study_date, names, patient, study.study_description, study.accession_number, instances)
        rows.append((*about, match.archive, study.study_instance_uid))
    table(headings, rows)


def _tell(made: Sequence[Retrieval], *, serving: bool, wait: bool) -> None:
    if not serving:
        say(f"{len(made)} asked for, but {_NOT_SERVED}")
    elif not wait:
        say(f"{len(made)} asked for; `matins show STUDY` tells what has come")


def _told(
    matches: Sequence[Match], made: Sequence[Retrieval], problems: Sequence[str], *, dry_run: bool, serving: bool
) -> dict[str, Any]:
    by_study = {each.study_instance_uid: each for each in made}
    studies = []
    for match in matches:
        study, retrieval = match.study, by_study.get(match.study.study_instance_uid)
        told: dict[str, Any] = {
            "study_instance_uid": study.study_instance_uid,
            "accession_number": study.accession_number,
            "patient_id": study.patient.patient_id,
            "patient_name": study.patient.name,
            "study_date": study.study_date,
            "study_time": study.study_time,
            "study_description": study.study_description,
            "modalities_in_study": list(study.modalities),
            "number_of_study_related_instances": study.instances,
            "archive": match.archive,
        }
        if retrieval is not None:
            told |= {"state": retrieval.state.value, "reason": retrieval.reason}
            told |= {"expected": retrieval.expected, "held": retrieval.held, "failed": retrieval.failed}
        studies.append(told)
    return {"dry_run": dry_run, "serving": serving, "studies": studies, "problems": list(problems)}


def _exit_code(made: Sequence[Retrieval], *, serving: bool, wait: bool) -> int:
    """0 where everything asked for is done or, without `--wait`, under way."""
    if not (made and wait):
        return 0
    return 0 if serving and all(each.state is RetrievalState.RETRIEVED for each in made) else 1
