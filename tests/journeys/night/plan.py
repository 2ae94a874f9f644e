"""A night made up from a seed: who comes, what is told of them by whom, and what their images show.

Everything here is what the node is given. `facts` is the same as an independent scorer takes it, written down beside
each thing that is told, and never read back from the node.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from tests.triage.brute_force import Raw

HERE, ELSEWHERE = "HOSPITAL-A", "HOSPITAL-B"
#: Model, code of what it finds.
BRAIN, BLEED, AIR = ("tiny", "SCT:12738006"), ("bleed", "SCT:1386000"), ("chest", "SCT:36118008")
FINDABLE = {BRAIN, BLEED, AIR}
#: mm of the bright ball: its volume lies far on either side of what rules ask for, and grows by more than a third.
SMALL, LARGE, GROWN = 6.0, 10.0, 11.5
#: Percent of the window at which the one grey of an image lies.
GREYS = (5, 30, 45, 62, 80, 95)
#: What a classifier makes of a grey: its number is sigmoid(STEEP · (grey − 0.5)).
STEEP, SEEN_FROM = 12.0, 0.5


class Teller(StrEnum):
    """Who tells a thing."""

    HEADER = "header"
    ADT = "adt"
    FHIR = "fhir"


@dataclass(frozen=True, kw_only=True)
class Told:
    """One thing that is told of a patient."""

    by: Teller
    code: str
    value: str
    coded: str = ""
    unit: str = ""
    observed_at: str = ""

    @property
    def fact(self) -> dict[str, Any]:
        """As the scorer takes it."""
        return {
            "code": self.code,
            "value": self.value,
            "coded": self.coded,
            "unit": self.unit,
            "observed_at": self.observed_at,
            "standing": "yes",
            "ended_at": "",
        }


@dataclass(kw_only=True)
class Person:
    """A made-up patient."""

    id: str
    issuer: str = HERE
    birth_date: str = "19700101"
    sex: str = "F"
    #: What FHIR says of the birth date; another one is of somebody else.
    fhir_birth_date: str = ""
    told: list[Told] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"Night^{self.id or 'Unknown'}"


@dataclass(kw_only=True)
class Study:
    """One study that comes in this night."""

    uid: str
    number: int
    person: Person
    kind: str
    description: str
    part: str
    age: str = "055Y"
    #: Requested Procedure Priority in its objects.
    priority: str = ""
    #: Priority of an order (TQ1-9) told before the images, and of one told after them.
    ordered_before: str = ""
    ordered_after: str = ""
    #: What its own objects say.
    header: list[Told] = field(default_factory=list)
    radius_mm: float = SMALL
    grey: int = 5
    date: str = ""
    #: Study Instance UID of a study of this patient in the archive, and of one of somebody else under the same ID.
    prior: str = ""
    namesake: str = ""
    #: The study of this patient that came this night and was made before it.
    follows: str = ""
    #: A radiologist reports it before the night is over.
    reported: bool = False
    #: ("", "STAT", "URGENT", "ROUTINE"): a person pins it there; None: nobody does.
    pinned: str | None = None

    @property
    def accession(self) -> str:
        return f"ACC-{self.number:04}"

    @property
    def model(self) -> str:
        """The model that reads it, or empty."""
        if self.kind == "MR":
            return BRAIN[0]
        return BLEED[0] if self.kind == "CT" and self.part == "HEAD" else AIR[0] if self.kind == "DX" else ""

    @property
    def asked_priority(self) -> str:
        """The priority that counts: of an order told before, the more urgent; one told afterwards takes its place."""
        words = {"S": "STAT", "A": "HIGH", "R": "ROUTINE"}
        if self.ordered_after:
            return words[self.ordered_after]
        known = [self.priority, words.get(self.ordered_before, "")]
        return min(known, key=["STAT", "HIGH", "ROUTINE", ""].index)

    @property
    def is_stat(self) -> bool:
        return self.asked_priority == "STAT" and not self.ordered_after


def probability_of(grey: int) -> float:
    """What a classifier says of an image of one grey."""
    return 1 / (1 + math.exp(-STEEP * (grey / 100 - 0.5)))


#: Kind, description, part, age, what is told: (teller, topic, value, code, unit).
_Case = tuple[str, str, str, str, tuple[tuple[Teller, str, str, str, str], ...]]
_H, _A, _F = Teller.HEADER, Teller.ADT, Teller.FHIR
_CASES: tuple[_Case, ...] = (
    ("MR", "MR spine", "SPINE", "068Y", ((_F, "problem", "Prostate cancer", "I10:C61", ""),
     (_H, "reason_for_request", "Progressive leg weakness for two days", "", ""))),
    ("MR", "MR spine", "SPINE", "044Y", ((_H, "reason_for_request", "Back pain, saddle anaesthesia", "", ""),)),
    ("MR", "MR head", "HEAD", "071Y", ((_H, "reason_for_request", "CODE STROKE, NIHSS 14", "", ""),)),
    ("MR", "MR head", "HEAD", "033Y", ((_H, "additional_history", "Headache, no sudden onset", "", ""),)),
    ("MR", "MR head", "HEAD", "050Y", ()),
    ("MR", "MR knee", "KNEE", "025Y", ((_A, "allergy", "Gadolinium contrast", "", ""),)),
    ("MR", "MR abdomen", "ABDOMEN", "029Y", ((_F, "problem", "Pregnancy", "I10:Z33.1", ""),
     (_H, "reason_for_request", "Right lower quadrant pain, appendicitis?", "", ""))),
    ("CT", "CT head", "HEAD", "081Y", ((_F, "medication", "Apixaban 5 mg", "ATC:B01AF02", ""),
     (_H, "reason_for_request", "Fall from standing height", "", ""))),
    ("CT", "CT head", "HEAD", "062Y", ((_H, "reason_for_request", "Thunderclap headache", "", ""),
     (_A, "patient_location", "ED 12 A", "", ""))),
    ("CT", "CT head", "HEAD", "000Y", ((_H, "reason_for_request", "Fell from the changing table", "", ""),)),
    ("CT", "CT head", "HEAD", "077Y", ((_A, "problem", "Cerebral infarction", "I10:I63.9", ""),)),
    ("CT", "CT head", "HEAD", "059Y", ()),
    ("CT", "CT thorax", "CHEST", "048Y", ((_F, "observation", "4200", "LN:48065-7", "ng/mL{FEU}"),
     (_H, "reason_for_request", "Pulmonary embolism?", "", ""))),
    ("CT", "CT abdomen with contrast", "ABDOMEN", "066Y", ((_F, "observation", "22", "LN:98979-8",
     "mL/min/{1.73_m2}"),)),
    ("CT", "Weekly QC phantom", "", "", ()),
    ("DX", "Chest", "CHEST", "051Y", ((_F, "observation", "0.3", "LN:26499-4", "10*9/L"),
     (_H, "reason_for_request", "Fever under chemotherapy", "", ""))),
    ("DX", "Chest", "CHEST", "039Y", ((_H, "patient_location", "ICU bed 3", "", ""),)),
    ("DX", "Chest", "CHEST", "020Y", ((_A, "allergy", "Iodinated contrast", "", ""),)),
    ("DX", "Chest", "CHEST", "084Y", ()),
)  # fmt: skip


class Night:
    """Studies in the order in which they come."""

    def __init__(self, seed: int, studies: int, *, root: str = "1.2.826.0.1.3680043.10.9") -> None:
        self.random = random.Random(seed)
        self.root, self.today = root, datetime.now(UTC).astimezone().date()
        self.studies: list[Study] = []
        order: list[int] = []
        while len(order) < studies:
            order += self.random.sample(range(len(_CASES)), len(_CASES))
        for number, case in enumerate(order[:studies], 1):
            self.studies.append(self._study(number, _CASES[case]))
        self._strange_ones()
        self._follow_ups()
        self._what_people_do()

    def _study(self, number: int, case: _Case) -> Study:
        pick = self.random
        kind, description, part, age, told = case
        person = Person(id=f"N{number:04}", sex=pick.choice("MFO"))
        yesterday = (self.today - timedelta(days=1)).isoformat()
        told_here = [
            Told(by=by, code=code, value=value, coded=coded, unit=unit, observed_at=yesterday if by is _F else "")
            for by, code, value, coded, unit in told
        ]
        person.told = [each for each in told_here if each.by is not _H]
        study = Study(
            uid=f"{self.root}.{number}",
            number=number,
            person=person,
            kind=kind,
            description=description,
            part=part,
            age=age,
            header=[each for each in told_here if each.by is _H],
            priority=pick.choices(["", "ROUTINE", "HIGH", "STAT"], [5, 3, 2, 2])[0],
            radius_mm=pick.choice([SMALL, LARGE]),
            grey=pick.choice(GREYS),
            date=f"{self.today:%Y%m%d}",
        )
        study.ordered_before = pick.choices(["", "S", "A", "R"], [8, 1, 1, 1])[0]
        study.ordered_after = pick.choices(["", "S", "R"], [12, 1, 1])[0]
        if pick.random() < 0.3:
            study.prior = f"{self.root}.7{number:04}"
        return study

    def _strange_ones(self) -> None:
        """Who may be taken for somebody else.

        An emergency without an ID, another hospital's patient of a known ID, a namesake in the archive, a FHIR record
        of another birth date.
        """
        some = self.studies
        for study in some[4::25]:
            study.person = Person(id="")
            study.prior = study.ordered_before = study.ordered_after = ""
        for first, second in zip(some[6::25], some[7::25], strict=False):
            # The one's history must not become the other's.
            second.person = Person(id=first.person.id, issuer=ELSEWHERE)
            second.prior = second.ordered_before = second.ordered_after = ""
        for study in some[10::25]:
            if not study.prior:
                study.namesake = f"{self.root}.8{study.number:04}"
        for study in some[12::25]:
            study.person.fhir_birth_date = "1951-05-05"

    def _follow_ups(self) -> None:
        """Two studies of one patient in a night, of which the first was made months ago."""
        heads = [each for each in self.studies if each.description == "MR head" and each.person.id in self._plain()]
        for before, now in zip(heads[::4], heads[1::4], strict=False):
            now.person = before.person
            before.date = f"{self.today - timedelta(days=91):%Y%m%d}"
            before.radius_mm, now.radius_mm = self.random.choice([(LARGE, GROWN), (LARGE, LARGE)])
            now.follows = before.uid
            now.prior = before.prior = now.namesake = before.namesake = ""

    def _plain(self) -> set[str]:
        owners = [each.person for each in self.studies]
        shared = {each.id for each in owners if each.issuer == ELSEWHERE}
        return {each.id for each in owners if each.id and each.issuer == HERE and not each.fhir_birth_date} - shared

    def _what_people_do(self) -> None:
        plain = [each for each in self.studies if each.person.id and each.person.issuer == HERE]
        followed = {each.follows for each in self.studies}
        for study in plain[3::20]:
            study.reported = not study.follows and study.uid not in followed
        for study, lane in zip([each for each in plain[8::40] if not each.reported], ["", "URGENT"], strict=False):
            study.pinned = lane

    def of(self, uid: str) -> Study | None:
        return next((each for each in self.studies if each.uid == uid), None)

    # ------------------------------------------------------------------------------------- what a scorer is told

    def raw(self, study: Study, arrived: datetime, pinned_s: float = 0.0) -> Raw:
        """The study as an independent scorer takes it."""
        years = float(study.age[:3]) if study.age else None
        return Raw(
            uid=study.uid,
            arrived=arrived,
            queued_s=arrived.timestamp(),
            priority=study.asked_priority,
            age=years,
            sex=study.person.sex,
            description=study.description,
            modalities={study.kind},
            parts={study.part} - {""},
            history=[each.fact for each in self.known_of(study)],
            results=self._results(study),
            changes=self._changes(study),
            pin=None if study.pinned is None else (study.pinned, pinned_s),
        )

    def known_of(self, study: Study) -> list[Told]:
        """What its own objects say; of an identified patient all that is told of (ID, issuer) too."""
        person = study.person
        if not person.id:
            return study.header
        others = [each for each in self.studies if each.person is person]
        told = [each for other in others for each in other.header]
        if person.issuer != HERE:
            return told
        return told + [each for each in person.told if each.by is Teller.ADT or not person.fhir_birth_date]

    def _results(self, study: Study) -> list[dict[str, Any]]:
        if not study.model:
            return []
        code = next(code for model, code in FINDABLE if model == study.model)
        scheme, _, value = code.partition(":")
        finding: dict[str, Any] = {"code": {"scheme": scheme, "value": value}, "lesion_number": 0}
        if study.kind == "MR":
            volume = {"quantity": {"scheme": "SCT", "value": "118565006"}, "unit": {"scheme": "UCUM", "value": "mL"}}
            volume_ml = 4 / 3 * math.pi * study.radius_mm**3 / 1000
            finding["measurements"] = [{**volume, "value": volume_ml, "derivation": None}]
        else:
            finding["probability"] = probability_of(study.grey)
            finding["present"] = finding["probability"] >= SEEN_FROM
        return [{"model": study.model, "mode": "live", "findings": [finding]}]

    def _changes(self, study: Study) -> list[dict[str, Any]]:
        before = self.of(study.follows) if study.follows else None
        if before is None:
            return []
        ratio = (study.radius_mm / before.radius_mm) ** 3
        return [
            {
                "model": BRAIN[0],
                "code": {"scheme": "SCT", "value": "12738006"},
                "quantity": {"scheme": "SCT", "value": "118565006"},
                "unit": {"value": "mL"},
                "verdict": "grown" if ratio > 1.1 else "stable",
                "ratio": ratio,
                "days": 91,
            }
        ]
