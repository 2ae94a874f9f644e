"""kill -9 of any process at any moment, again and again, with sending going on."""

from __future__ import annotations

import random
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydicom import dcmread

from node.demo.collection import arrivals
from node.demo.sender import send
from node.demo.worklist import worklist
from node.errors import Transient
from tests.journeys.tiny_model import tiny_head
from tests.site import ArchiveProcess, Site, wait_until


@dataclass
class Report:
    """What the storm left behind; empty lists are what should be."""

    kills: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    studies: int = 0
    #: Acknowledged instances that are not held, or not with the bytes that were sent.
    lost: list[str] = field(default_factory=list)
    #: Studies without exactly one SEG and one SR.
    unread: list[str] = field(default_factory=list)
    #: Studies with more than one result set.
    doubled: list[str] = field(default_factory=list)
    #: SOP Instance UIDs that went out with two contents.
    sent_differently: list[str] = field(default_factory=list)


class Storm:
    """A site whose processes are killed one after the other while studies come in."""

    def __init__(self, folder: Path, models: Path, *, kills: int, seed: int, studies: int = 0) -> None:
        self._folder = folder
        self._kills = kills
        self._random = random.Random(seed)
        self._studies = studies or max(3, kills)
        self._archive = ArchiveProcess(folder / "archive")
        self._site = Site(folder / "site", models=models, model="tiny", quiet_s=2.0)
        self._site.peer("SCANNER", roles=["source"], results_to=["PACS"])
        self._site.peer("PACS", port=self._archive.port, roles=["destination"])
        self._acknowledged: dict[str, Path] = {}
        self._over = threading.Event()

    def run(self) -> Report:
        """Send and kill, let everything settle, and count."""
        report = Report(studies=self._studies)
        heads = {
            f"1.2.826.{number + 1}": tiny_head(self._folder / "heads", f"1.2.826.{number + 1}", seed=number)
            for number in range(self._studies)
        }
        self._archive.start()
        self._site.start()
        sender = threading.Thread(target=self._send, args=(list(heads.values()),))
        sender.start()
        try:
            while sum(report.kills.values()) < self._kills:
                time.sleep(self._random.uniform(0.3, 2.5))
                self._kill_one(report)
            sender.join(600)
            assert not sender.is_alive(), self._site.log.read_text()[-3000:]
            self._settle(heads)
            self._count(report, heads)
        finally:
            self._over.set()
            sender.join()
            self._site.stop()
            self._archive.stop()
        return report

    def _send(self, heads: list[list[Path]]) -> None:
        """Send every slice until it is acknowledged, as a scanner does."""
        for files in heads:
            waiting = list(files)
            while waiting and not self._over.is_set():
                # Over two associations each, one after the other: a study is not an association.
                batch = waiting[: self._random.randint(1, len(waiting))]
                try:
                    answers = send(batch, self._site.address, calling_ae_title="SCANNER")
                except Transient:
                    time.sleep(0.2)
                    continue
                for path, answer in zip(batch, answers, strict=False):
                    if answer.status == 0:
                        self._acknowledged[answer.sop_instance_uid] = path
                        waiting.remove(path)

    def _kill_one(self, report: Report) -> None:
        assert self._site.process is not None
        top = psutil.Process(self._site.process.pid)
        victims = [top, *top.children(recursive=True)]
        victim = self._random.choice(victims)
        try:
            words = victim.cmdline()
            name = "serve" if victim.pid == top.pid else " ".join(words[2:4])
            victim.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            return
        report.kills[name] = report.kills.get(name, 0) + 1
        if victim.pid == top.pid:
            self._site.process.wait()
            psutil.wait_procs([each for each in victims if each.pid != top.pid], timeout=40)
            self._site.start()

    def _settle(self, heads: dict[str, list[Path]]) -> None:
        def settled() -> bool:
            listed = worklist(self._site.web_port)
            return len(listed) == len(heads) and all(
                study["state"] == "done" and [each["state"] for each in study["results"]] == ["sent", "sent"]
                for study in listed
            )

        wait_until("every study to be done and sent", settled, limit_s=240)

    def _count(self, report: Report, heads: dict[str, list[Path]]) -> None:
        report.acknowledged = len(self._acknowledged)
        spool = {dcmread(path).SOPInstanceUID: dcmread(path) for path in (self._site.data / "spool").rglob("*.dcm")}
        indexed = self._site.uids()
        for uid, path in self._acknowledged.items():
            if uid not in indexed or uid not in spool or spool[uid].PixelData != dcmread(path).PixelData:
                report.lost.append(uid)
        contents: dict[str, set[str]] = {}
        kinds: dict[str, list[str]] = {study: [] for study in heads}
        for each in arrivals(self._archive.folder):
            dataset = dcmread(self._archive.folder / each.file)
            contents.setdefault(each.sop_instance_uid, set()).add(each.sha256)
            kinds[dataset.StudyInstanceUID].append(f"{dataset.Modality} {each.sop_instance_uid}")
        report.sent_differently = [uid for uid, found in contents.items() if len(found) > 1]
        report.unread = [
            study for study, found in kinds.items() if {each.split()[0] for each in found} != {"SEG", "SR"}
        ]
        report.doubled = [study for study, found in kinds.items() if len(set(found)) > 2]
