"""The hospital of a made-up night: the whole node, scanners, an archive, a RIS, FHIR records."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node.demo.sender import Address, send
from tests.deliver.ris import Ris, listening
from tests.journeys.night.images import archived, images_of
from tests.journeys.night.models import models_folder, rules_folder
from tests.journeys.night.plan import ELSEWHERE, HERE, Night, Study, Teller
from tests.journeys.night.records import KINDS, records_of
from tests.receive.hl7.messages import Client, message, pid
from tests.retrieve.records import SYSTEM, Records
from tests.site import ROOT, ArchiveProcess, Site, free_port, wait_until

#: A night of minutes has to age as one of hours: 12 hours in 5 minutes.
POINTS_PER_MINUTE = 10.0
_SETTINGS = f"""
[models.bleed]
mode = "live"
[models.chest]
mode = "live"
[rank]
points_per_minute = {POINTS_PER_MINUTE}
[retrieve]
priors = 2
silence_s = 20
answer_s = 10
[receive.hl7]
enabled = true
port = {{hl7_port}}
[[receive.hl7.senders]]
name = "RIS"
application = "RADIS"
facility = "HOSP"
addresses = ["127.0.0.1/32"]
issuer = "{{here}}"
authorities = {{{{ HOSP = "{{here}}" }}}}
[[routes]]
name = "RIS"
kind = "hl7"
host = "127.0.0.1"
port = {{ris}}
interface = "worklist"
[[fhir]]
name = "RECORDS"
base = "{{records}}"
identifiers = {{{{ "{{here}}" = "{{system}}" }}}}
resources = [{{kinds}}]
answer_s = 5
limit_s = 10
"""


@dataclass
class TimedRis(Ris):
    """A reading worklist that notes when it has acknowledged each message."""

    #: MSH-10 → seconds since 1970.
    at: dict[str, float] = field(default_factory=dict)

    def _take(self, connection: Any, text: str) -> bool:
        goes_on = super()._take(connection, text)
        self.at.setdefault(text.split("|")[9], time.time())
        return goes_on

    def lane_of(self, accession: str) -> str:
        """The lane that the last message of an accession number says; empty where none came."""
        told = [text for _, text in self.told_of(accession)]
        return told[-1].partition("|LANE^Triage lane^99MATINS||")[2].partition("|")[0] if told else ""

    def told_of(self, accession: str) -> list[tuple[float, str]]:
        """When each message of an accession number was acknowledged, and the message, in order."""
        found = [(self.at[key], text) for key, text in list(self.kept.items()) if f"|{accession}|" in text]
        return sorted((at, text) for at, text in found if at)


class NightSite(Site):
    """The node of the night: three models, the shipped rules and its own, every source of history."""

    def __init__(self, folder: Path, *, quiet_s: float = 1.0) -> None:
        super().__init__(folder, quiet_s=quiet_s, models=models_folder(folder.parent / "models"), model="tiny")
        self.rules = rules_folder(folder.parent / "rules")
        self.hl7_port = free_port()

    def write_config(self) -> None:
        super().write_config()
        self.config.write_text(self.config.read_text().replace(str(ROOT / "rules"), str(self.rules)))

    def wait_ready(self) -> None:
        """Three models take their time where others work too."""
        wait_until("all rooms ready", lambda: b"all rooms ready" in self.log.read_bytes(), limit_s=300)

    def connect(self, ris: int, records: str, archive: int, pacs: int, *, archive_name: str = "ARCHIVE") -> None:
        """Name everybody in the settings; ports of the RIS's worklist and of the archives, base of the FHIR server."""
        flags = {"results_to": ["PACS"], "flags_to": ["RIS"]}
        self.peer("SCANNER", roles=["source"], issuer=HERE, **flags)
        self.peer("NORTH", roles=["source"], issuer=ELSEWHERE, **flags)
        self.peer(archive_name, port=archive, roles=["source", "archive"], issuer=HERE)
        self.peer("PACS", port=pacs, roles=["destination"])
        kinds = ", ".join(f'"{each}"' for each in KINDS)
        self.peers.append(
            _SETTINGS.format(hl7_port=self.hl7_port, ris=ris, records=records, kinds=kinds, here=HERE, system=SYSTEM)
        )

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """What the node's tables hold; read only."""
        with closing(sqlite3.connect(f"file:{self.data / 'matins.sqlite'}?mode=ro", uri=True, timeout=30)) as found:
            found.row_factory = sqlite3.Row
            return found.execute(sql, values).fetchall()

    def unfinished(self) -> str:
        """What the node still has before it; empty where it is through."""
        found = {
            "open studies": self.rows("SELECT 1 FROM study WHERE open = 1"),
            "work": self.rows("SELECT 1 FROM work_item WHERE state IN ('ready', 'claimed')"),
            "outcomes": self.rows("SELECT 1 FROM outcome WHERE state IN ('pending', 'running')"),
            "fetches": self.rows("SELECT 1 FROM retrieval WHERE state IN ('waiting', 'running')"),
            "notices": self.rows("SELECT 1 FROM notice WHERE state IN ('queued', 'sent')"),
            "results": self.rows("SELECT 1 FROM outbox WHERE state = 'queued'"),
            "messages": self.rows("SELECT 1 FROM hl7_message WHERE state = 'received'"),
        }
        return ", ".join(f"{len(rows)} {what}" for what, rows in found.items() if rows)


@dataclass
class Hospital:
    """Everything that runs, and what was sent when."""

    night: Night
    site: NightSite
    ris: TimedRis
    records: Records
    pacs: ArchiveProcess
    folder: Path
    #: UID → seconds since 1970: before the first instance was sent, and when the last was acknowledged.
    began: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)

    def tell(self, study: Study) -> None:
        """The RIS admits the patient and orders the study, before there are images."""
        person = study.person
        if not person.id or person.issuer != HERE:
            return
        told = [each for each in person.told if each.by is Teller.ADT]
        place = [each.value.replace(" ", "^") for each in told if each.code == "patient_location"]
        segments = [self._pid(study), f"PV1|1|O|{place[0] if place else ''}"]
        segments += [f"AL1|{n}|DA|^{each.value}" for n, each in enumerate(told, 1) if each.code == "allergy"]
        segments += [
            f"DG1|{n}||{each.coded.partition(':')[2]}^{each.value}^I10"
            for n, each in enumerate(told, 1)
            if each.code == "problem"
        ]
        if told:
            self._message("ADT^A01^ADT_A01", "EVN||20260102030000", *segments)
        if study.ordered_before:
            self.order(study, study.ordered_before)

    def order(self, study: Study, priority: str) -> None:
        """The RIS says how soon it is wanted."""
        self._message(
            "ORM^O01",
            self._pid(study),
            f"ORC|XO|4711{study.number}|||||^^^^^{priority}",
            f"OBR|1|4711{study.number}||X^X^L||||||||||||||{study.accession}",
        )

    def report(self, study: Study) -> None:
        """A radiologist has signed."""
        self._message(
            "ORU^R01^ORU_R01",
            self._pid(study),
            f"OBR|1|4711{study.number}|R{study.number}^RADIS|X^X^L||||||||||||||{study.accession}||||||RAD|F",
            "OBX|1|TX|19005-8^Impression^LN||Nothing of note.||||||F",
        )

    def people_act(self) -> None:
        """Radiologists report and pin what the plan says."""
        for study in self.night.studies:
            if study.pinned is not None:
                where = ["--lane", study.pinned] if study.pinned else ["--first"]
                done = self.site.command("pin", study.uid, *where, "--why", "asked for by the ward")
                assert done.returncode == 0, done.stderr
            if study.reported:
                self.report(study)

    def scan(self, study: Study) -> None:
        """The scanner sends the study."""
        paths = images_of(self.folder / "scanner", study)
        self.began[study.uid] = time.time()
        answers = self.site.send(paths, calling="SCANNER" if study.person.issuer == HERE else "NORTH")
        self.ended[study.uid] = time.time()
        assert all(answer.status == 0 for answer in answers), [answer.status for answer in answers]

    def is_through(self, what: str, *, limit_s: float) -> None:
        """Wait until the node has nothing before it: twice, as one thing may bring the next."""
        told = ""

        def quiet() -> bool:
            nonlocal told
            told = self.site.unfinished()
            return not told

        try:
            for _ in range(2):
                wait_until(what, quiet, limit_s=limit_s)
                time.sleep(0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}; left: {told}") from None

    def _pid(self, study: Study) -> str:
        person = study.person
        return pid(f"{person.id}^^^HOSP^MR", name=person.name, born=person.birth_date, sex=person.sex)

    def _message(self, kind: str, *segments: str) -> None:
        at = f"{datetime.now(UTC):%Y%m%d%H%M%S}+0000"
        with Client(self.site.hl7_port) as client:
            client.send(message(kind, *segments, at=at))
            answer = client.answer()
        assert [each[1] for each in answer[1:2]] == ["AA"], (kind, segments, answer)


@contextmanager
def open_night(
    folder: Path,
    night: Night,
    *,
    archive: Any = None,
    quiet_s: float = 1.0,
) -> Iterator[Hospital]:
    """Start everything; the archive holds the earlier studies. `archive`: makes another one than the embedded."""
    site = NightSite(folder / "site", quiet_s=quiet_s)
    pacs = ArchiveProcess(folder / "pacs")
    ris, records = TimedRis(), records_of(night).start()
    with ExitStack() as stack:
        stack.callback(records.stop)
        stack.enter_context(listening(ris))
        port, name, runs = (archive or embedded)(folder / "archive", site)
        stack.enter_context(runs)
        stack.callback(pacs.stop)
        pacs.start()
        held = [path for study in night.studies for path in _earlier(folder / "held", study)]
        assert all(each.status == 0 for each in send(held, Address("127.0.0.1", port, name)))
        site.connect(ris.port, records.base, port, pacs.port, archive_name=name)
        stack.callback(site.stop)
        site.start()
        yield Hospital(night, site, ris, records, pacs, folder)


def embedded(folder: Path, site: Site) -> tuple[int, str, AbstractContextManager[object]]:
    """The demo's archive: port, AE title, and what ends it."""
    archive = ArchiveProcess(folder, knows=[f"127.0.0.1:{site.port}:MATINS"]).start()
    stack = ExitStack()
    stack.callback(archive.stop)
    return archive.port, "ARCHIVE", stack


def _earlier(folder: Path, study: Study) -> Sequence[Path]:
    held = list(archived(folder, study, study.prior)) if study.prior else []
    return held + (list(archived(folder, study, study.namesake, born="19240404")) if study.namesake else [])
