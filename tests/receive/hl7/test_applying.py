"""From a message to what it sets off: history, identity, orders, reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.domain.history import Standing
from node.domain.patient import Patient
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.errors import Transient
from node.receive.hl7 import applying
from node.receive.hl7.applying import apply_next
from node.store import events, history, hl7_messages, identities, studies
from node.store.database import Database, open_database
from node.store.hl7_messages import MessageState
from node.store.studies import StudyRow
from node.workflow import ordered, reported
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from node.workflow.story import study_story
from tests.fakes import PATIENT, STUDY, FakeClock, arrive, model, policy, slice_of
from tests.receive.hl7.messages import RIS, message, pid, settings_of

ALLERGY = "AL1|1|DA|372687004^Amoxicillin^SCT|SV|hives"
ORDER = "ORC|NW|4711"
OTHER = replace(PATIENT, patient_id="P9")


def obr(accession: str = "ACC1", *, priority: str = "", section: str = "", status: str = "", reason: str = "") -> str:
    fields = {4: "CT^CT head^L", 18: accession, 24: section, 25: status, 27: f"^^^^^{priority}", 31: reason}
    return "OBR|" + "|".join(fields.get(number, "") for number in range(1, 32))


class Site:
    """A node without a network: messages are put where the door puts them."""

    def __init__(self, db: Database, clock: FakeClock, folder: Path) -> None:
        self.db, self.clock = db, clock
        self.policy: Policy = replace(policy(model()), settings=settings_of(folder))
        self._number = 0

    def tell(self, *contents: bytes, sender: str = "RIS") -> dict[str, int]:
        for content in contents:
            self._number += 1
            with self.db.transaction():
                hl7_messages.keep(
                    self.db, self.clock.forward(1.0), sender=sender, control_id=str(self._number), kind="ADT^A08",
                    digest=str(self._number), content=content, state=MessageState.RECEIVED,
                )  # fmt: skip
        self.settle()
        return hl7_messages.tally(self.db)

    def settle(self) -> None:
        while apply_next(self.db, self.clock, self.policy):
            pass

    def receive(
        self, patient: Patient = PATIENT, study: str = STUDY, accession: str = "ACC1", priority: str = ""
    ) -> None:
        for number in range(3):
            instance = slice_of(number, study=study, series=f"{study}.1", patient=patient)
            order = replace(instance.order, accession_number=accession, requested_priority=priority)
            arrive(self.db, self.clock.now(), replace(instance, order=order))
        close_due(self.db, self.clock.forward(1000.0), self.policy)

    def study(self) -> StudyRow:
        found = studies.study(self.db, STUDY)
        assert found is not None
        return found

    def known(self, patient: Patient = PATIENT) -> list[tuple[str, str]]:
        return [(fact.code, fact.value) for fact in history.facts(self.db, patient, study="")]

    def reason(self) -> str:
        return str(self.db.rows("SELECT reason FROM hl7_message ORDER BY id DESC LIMIT 1")[0]["reason"])


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "var", "listen")
    yield database
    database.close()


@pytest.fixture
def site(db: Database, tmp_path: Path) -> Site:
    return Site(db, FakeClock(), tmp_path)


# ---------------------------------------------------------------------------------------------------------- history


def test_everything_that_an_admission_says_is_known(site: Site):
    site.tell(message(
        "ADT^A01", pid(), "PV1|1|E|ED^12^A^HOSP|||||||MED|||||B6|||||||||||||||||||||||||||||202601020130",
        ALLERGY, "DG1|1||I26.9^Embolism^I10||20260101|A", "DG1|2||C34.1^Lung cancer^I10||2020|F",
        "PR1|1||80146002^Appendectomy^SCT||20190305", "OBX|1|NM|33762-6^NT-proBNP^LN||1800|pg/mL|0-125|HH|||F",
        "OBX|2|CWE|82810-3^Pregnancy status^LN||60001007^Not pregnant^SCT||||||F",
        "OBX|3|SN|48065-7^D-dimer^LN||>^20|mg/L||||F", "OBX|4|NM|2160-0^Creatinine^LN||1.1|mg/dL|||||X",
    ))  # fmt: skip
    assert sorted(site.known()) == [
        ("admitting_diagnosis", "Embolism"),
        ("allergy", "Amoxicillin: hives"),
        ("observation", "1800"),
        ("observation", "D-dimer: >20"),
        ("observation", "NT-proBNP critically high"),
        ("patient_location", "ED 12 A"),
        ("patient_location", "emergency"),
        ("pregnancy_status", "Not pregnant"),
        ("pregnancy_status", "pregnant"),
        ("problem", "Lung cancer"),
        ("procedure", "Appendectomy"),
        ("service", "MED"),
    ]
    told = {fact.value: fact for fact in history.facts(site.db, PATIENT, study="")}
    assert (told["1800"].number, told["1800"].unit, told["1800"].coded) == (1800.0, "pg/mL", "LN:33762-6")
    assert (told["Embolism"].coded, told["Embolism"].observed_at) == ("I10:I26.9", "2026-01-01")
    assert told["Lung cancer"].observed_at == "2020"
    assert told["Not pregnant"].standing is Standing.NO
    assert told["ED 12 A"].observed_at == "2026-01-02T01:30:00+01:00"


def test_empty_leaves_what_was_told_and_null_deletes_it(site: Site):
    site.tell(message("ADT^A08", pid(), ALLERGY, "DG1|1||I10^Hypertension^I10"))
    site.tell(message("ADT^A08", pid(), "AL1|1", at="20260102030001"))
    assert site.known() == [("allergy", "Amoxicillin: hives"), ("problem", "Hypertension")]
    site.tell(message("ADT^A08", pid(), 'AL1|1||""', at="20260102030002"))
    assert site.known() == [("problem", "Hypertension")]
    site.tell(message("ADT^A08", pid(), "DG1|1||E11^Diabetes^I10", at="20260102030003"))
    assert site.known() == [("problem", "Diabetes")]


def test_a_source_that_adds_takes_nothing_back(site: Site):
    added = {**RIS, "history": "add"}
    site.policy = replace(site.policy, settings=settings_of(site.db.folder.parent, senders=[added]))
    site.tell(message("ADT^A08", pid(), "DG1|1||I10^Hypertension^I10"))
    site.tell(message("ADT^A08", pid(), "DG1|1||E11^Diabetes^I10"))
    assert site.known() == [("problem", "Hypertension"), ("problem", "Diabetes")]


def test_no_known_allergy_is_a_fact_that_says_no(site: Site):
    site.tell(message("ADT^A08", pid(), "AL1|1||716186003^No known allergy^SCT"))
    assert [fact.standing for fact in history.facts(site.db, PATIENT, study="")] == [Standing.NO]


def test_a_message_that_comes_late_undoes_nothing(site: Site):
    site.tell(message("ADT^A08", pid(), "DG1|1||E11^Diabetes^I10", at="20260102030100"))
    site.tell(message("ADT^A08", pid(), "DG1|1||I10^Hypertension^I10", at="20260102030000"))
    assert site.known() == [("problem", "Diabetes")]
    # A clock that is a day ahead does not shut out everything that follows.
    site.tell(message("ADT^A08", pid(), "DG1|1||J18^Pneumonia^I10", at="20260104030100"))
    site.tell(message("ADT^A08", pid(), "DG1|1||I10^Hypertension^I10", at="20260102030200"))
    assert site.known() == [("problem", "Hypertension")]


def test_a_patient_who_is_gone_is_nowhere(site: Site):
    site.tell(message("ADT^A01", pid(), "PV1|1|I|W3^4"))
    assert site.known() == [("patient_location", "W3 4"), ("patient_location", "inpatient")]
    site.tell(message("ADT^A03", pid(), "PV1|1|I|W3^4", at="20260102040000"))
    assert site.known() == []


def test_laboratory_values_add_up_and_a_later_one_takes_the_place_of_its_earlier(site: Site):
    def lab(value: str, at: str, code: str = "2160-0^Creatinine^LN", status: str = "F") -> bytes:
        return message("ORU^R01", pid(), "OBR|1|||LAB", f"OBX|1|NM|{code}||{value}|mg/dL|||||{status}|||{at}")

    site.tell(lab("1.0", "202601010800"), lab("2.0", "202601020200"), lab("9.9", "202512310800"))
    site.tell(lab("140", "202601020200", "2951-2^Sodium^LN"), lab("7.4", "202601020200", "2744-1^pH^LN"))
    assert site.known() == [("observation", "2.0"), ("observation", "140"), ("observation", "7.4")]
    site.tell(lab("", "202601020200", "2951-2^Sodium^LN", "D"))
    assert site.known() == [("observation", "2.0"), ("observation", "7.4")]


# ------------------------------------------------------------------------------------------------------ whose it is


def test_of_an_emergency_patient_without_an_id_nothing_is_kept(site: Site):
    site.receive(replace(PATIENT, patient_id=""))
    for ids in ("", "^^^HOSP", "UNKNOWN^^^HOSP", "*^^^HOSP", "4711^^^HOSP^AN"):
        site.tell(message("ADT^A01", pid(ids), ALLERGY))
    assert hl7_messages.tally(site.db) == {MessageState.UNUSED: 5}
    assert site.db.rows("SELECT 1 FROM history WHERE origin != ''") == []


def test_two_hospitals_with_the_same_id_share_nothing(site: Site):
    other = replace(PATIENT, issuer="B")
    site.receive(other)
    site.tell(message("ADT^A08", pid("P1^^^HOSP"), ALLERGY), message("ORM^O01", pid(), ORDER, obr(priority="S")))
    assert (site.known(other), site.study().lane) == ([], Lane.ROUTINE)
    site.tell(message("ADT^A08", pid("P1^^^OTHERHOSP"), "DG1|1||I10^Hypertension^I10"))
    assert site.known(other) == [("problem", "Hypertension")]


def test_an_authority_that_is_not_ours_or_is_two_is_nobodys(site: Site):
    for authority in ("ELSEWHERE", "HOSP&1.2.3&ISO", "OTHERHOSP&1.2.276.1&ISO"):
        site.tell(message("ADT^A08", pid(f"P1^^^{authority}"), ALLERGY))
    # One part that is known is enough, two that contradict each other are none.
    assert hl7_messages.tally(site.db) == {MessageState.UNUSED: 2, MessageState.APPLIED: 1}


def test_without_an_issuer_a_fact_counts_only_for_the_same_birth_date(site: Site):
    nobodys = replace(PATIENT, issuer="")
    free = {**RIS, "issuer": "", "authorities": {}}
    site.policy = replace(site.policy, settings=settings_of(site.db.folder.parent, senders=[free]))
    site.tell(message("ADT^A08", pid("P1"), ALLERGY))
    assert site.known(nobodys) == [("allergy", "Amoxicillin: hives")]
    for birth_date in ("", "19700102"):
        assert site.known(replace(nobodys, birth_date=birth_date)) == []
    [(_, doubt)] = history.candidates(site.db, replace(nobodys, birth_date=""), study="")
    assert "a birth date is missing" in doubt


# ------------------------------------------------------------------------------------------- merges and corrections


def merge(patient_id: str, survivor: str, kind: str = "ADT^A40") -> bytes:
    return message(kind, pid(f"{survivor}^^^HOSP"), f"MRG|{patient_id}^^^HOSP")


@pytest.mark.parametrize("kind", ["ADT^A40", "ADT^A34", "ADT^A47"])
def test_a_merged_patient_is_known_as_the_one_who_survives(site: Site, kind: str):
    site.receive()
    site.tell(message("ADT^A08", pid("P9^^^HOSP"), ALLERGY))
    assert site.known() == []
    assert site.tell(merge("P1", "P9", kind)) == {MessageState.APPLIED: 2}
    assert site.known() == site.known(OTHER) == [("allergy", "Amoxicillin: hives")]
    assert site.known(replace(PATIENT, issuer="B")) == []
    moved = [each for each in events.of_study(site.db, STUDY) if each.about == "identity"]
    assert [(each.after, each.reason) for each in moved] == [("merged", "told by hl7 RIS")]


def test_merges_chain_and_never_run_in_a_circle(site: Site):
    site.tell(merge("P1", "P2"), merge("P2", "P3"), merge("P1", "P3"))
    three = replace(PATIENT, patient_id="P3")
    assert identities.identifiers(site.db, PATIENT) == ["P1", "P2", "P3"]
    assert [identities.survivor(site.db, each) for each in (PATIENT, three)] == ["P3", "P3"]
    assert site.tell(merge("P3", "P1"))[MessageState.REFUSED] == 1
    assert "circle" in site.reason()
    assert site.tell(merge("P1", "P7"))[MessageState.REFUSED] == 2
    assert site.tell(merge("P3", "P3"))[MessageState.REFUSED] == 2
    assert identities.survivor(site.db, PATIENT) == "P3"


def test_a_message_with_one_merge_that_must_not_be_does_none(site: Site):
    two = message("ADT^A40", pid("P2^^^HOSP"), "MRG|P1^^^HOSP", pid("UNKNOWN^^^HOSP"), "MRG|P7^^^HOSP")
    assert site.tell(two) == {MessageState.REFUSED: 1}
    assert identities.moves(site.db) == []


@pytest.mark.parametrize(("first", "second"), [("P1", "P2"), ("P2", "P1")])
def test_a_merge_is_taken_back(site: Site, first: str, second: str):
    site.tell(message("ADT^A08", pid("P2^^^HOSP"), ALLERGY), merge("P1", "P2"))
    assert site.known() != []
    site.tell(message("ADT^A37", pid(f"{first}^^^HOSP"), pid(f"{second}^^^HOSP")))
    assert (site.known(), identities.moves(site.db)) == ([], [])
    assert site.tell(message("ADT^A37", pid("P1^^^HOSP"), pid("P2^^^HOSP")))[MessageState.REFUSED] == 1
    # What was separated may be merged again.
    site.tell(merge("P1", "P2"))
    assert site.known() != []


def test_what_was_told_under_a_birth_date_that_was_corrected_is_still_the_patients(site: Site):
    site.receive()
    site.tell(message("ADT^A08", pid(), ALLERGY))
    site.tell(message("ADT^A31", pid(born="19700110"), "DG1|1||I10^Hypertension^I10", at="20260102030100"))
    assert site.known() == [("allergy", "Amoxicillin: hives"), ("problem", "Hypertension")]
    assert site.known(replace(PATIENT, birth_date="19990101")) == []


def test_another_name_and_birth_date_under_the_same_id_are_no_correction(site: Site):
    site.receive()
    site.tell(message("ADT^A08", pid(name="Roe^Richard", born="19550505", sex="M"), ALLERGY))
    assert site.known() == []
    [(_, doubt)] = history.candidates(site.db, PATIENT, study="")
    assert doubt == "birth date differs"


def test_an_id_that_is_given_to_somebody_else_takes_nothing_of_the_former_patient_along(site: Site):
    jane, john = {"name": "Doe^Jane", "born": "19870707"}, {"name": "Roe^John", "sex": "M"}
    site.tell(
        message("ADT^A08", pid(born="19500101", **john), ALLERGY),
        # A birth date of John's that is corrected, and something that is told of him without any.
        message("ADT^A08", pid(born="19510101", **john), at="20260102030100"),
        message("ORM^O01", "PID|1||P1^^^HOSP||Roe^John", ORDER, obr(reason="^Rectal bleeding"), at="20260102030200"),
        merge("P1", "P2"),
    )
    assert len(site.known(replace(PATIENT, birth_date="19510101", sex="M"))) == 2
    site.tell(message("ADT^A08", pid(**jane), at="20260102030300"))
    assert site.known(replace(PATIENT, birth_date="19870707")) == []
    assert identities.identifiers(site.db, PATIENT) == ["P1"]


def test_another_name_and_sex_without_a_birth_date_are_no_correction(site: Site):
    site.tell(message("ADT^A08", pid(name="Roe^John", born="19500101", sex="M"), ALLERGY))
    site.tell(message("ADT^A08", pid(name="Doe^Jane", born="", sex="F"), at="20260102030100"))
    told = identities.told(site.db, PATIENT)
    assert told is not None
    assert (told.birth_date, told.sex) == ("", "F")
    assert site.known(replace(PATIENT, birth_date="", sex="F")) == []


def test_a_corrected_birth_date_that_is_deleted_makes_nobody_alike(site: Site):
    site.tell(
        message("ADT^A08", pid(born="19500101")),
        message("ADT^A08", pid(born="19510101"), at="20260102030100"),
        message("ADT^A08", pid(born='""'), ALLERGY, at="20260102030200"),
        message("ORU^R01", pid(born="19870707"), "OBR|1", "OBX|1|NM|2160-0^Creatinine^LN||9.9|mg/dL"),
    )
    assert ("observation", "9.9") not in site.known(replace(PATIENT, birth_date="19500101"))


def test_what_adds_up_never_passes_from_one_patient_to_another(site: Site):
    def result(value: str, born: str) -> bytes:
        return message("ORU^R01", pid(born=born), "OBR|1", f"OBX|1|NM|{value}")

    site.tell(result("2160-0^Creatinine^LN||9.9|mg/dL", "19500101"))
    # Another birth date, and then none: what was told of the one stays the one's.
    site.tell(result("6301-6^INR^LN||1.0|1", "19700101"), result("2951-2^Sodium^LN||140|mmol/L", ""))
    assert ("observation", "9.9") not in site.known()
    assert ("observation", "1.0") in site.known()
    assert site.known(replace(PATIENT, birth_date="19500101")) == [("observation", "9.9"), ("observation", "140")]


def test_a_merge_that_comes_late_undoes_no_separation(site: Site):
    site.tell(merge("P1", "P2"))
    apart = message("ADT^A37", pid("P2^^^HOSP"), pid("P1^^^HOSP"), at="20260102040000")
    site.tell(apart, message("ADT^A40", pid("P2^^^HOSP"), "MRG|P1^^^HOSP", at="20260102030500"))
    assert identities.moves(site.db) == []
    site.tell(message("ADT^A40", pid("P2^^^HOSP"), "MRG|P1^^^HOSP", at="20260102050000"))
    assert len(identities.moves(site.db)) == 1


def test_empty_demographics_change_nothing_and_null_deletes(site: Site):
    site.tell(message("ADT^A08", pid()), message("ADT^A08", pid(name="", born="", sex=""), at="20260102030100"))
    told = identities.told(site.db, Patient(patient_id="P1", issuer="A"))
    assert told == PATIENT
    site.tell(message("ADT^A08", pid(born='""'), at="20260102030200"))
    told = identities.told(site.db, Patient(patient_id="P1", issuer="A"))
    assert told is not None
    assert (told.name, told.birth_date) == ("Doe^Jane", "")


# ------------------------------------------------------------------------------------------------ orders and reports


@pytest.mark.parametrize(
    ("priority", "lane"),
    [("S", Lane.STAT), ("A", Lane.URGENT), ("URG", Lane.URGENT), ("R", Lane.ROUTINE), ("?", Lane.ROUTINE)],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_the_priority_of_an_order_counts_whether_it_comes_before_or_after_the_study(
    site: Site, priority: str, lane: Lane, is_first: bool
):
    steps: list[Callable[[], object]] = [
        lambda: site.tell(message("ORM^O01", pid(), ORDER, obr(priority=priority))),
        site.receive,
    ]
    for step in steps if is_first else steps[::-1]:
        step()
    assert site.study().lane is lane


@pytest.mark.parametrize(
    "segments",
    [
        ("ORC|NW|1", "TQ1|1||||||||S^Stat^HL70485", "OBR|1", "IPC|ACC1|RP1|1.2.9^^1.2.9^ISO|SPS1"),
        ("ORC|NW|1", "TQ1|1||||||||S", "OBR|1", f"IPC|OTHER|RP1|{STUDY}|SPS1"),
        ("ORC|NW|1|||||^^^^^S", obr()),
        ("ORC|NW|1", obr("", priority="S"), f"ZDS|{STUDY}^RADIS^Application^DICOM"),
    ],
)
def test_a_study_is_found_by_accession_number_or_uid_wherever_they_stand(site: Site, segments: tuple[str, ...]):
    site.receive()
    site.tell(message("OMI^O23" if "IPC" in segments[-1] else "ORM^O01", pid(), *segments))
    assert site.study().lane is Lane.STAT


@pytest.mark.parametrize(
    "who", [pid("P9^^^HOSP"), pid("P1^^^OTHERHOSP"), pid(born="19550505"), pid(""), pid("UNKNOWN^^^HOSP")]
)
def test_an_order_of_somebody_else_with_the_same_accession_number_moves_nothing(site: Site, who: str):
    site.receive()
    site.tell(message("ORM^O01", who, ORDER, obr(priority="S"), f"ZDS|{STUDY}"))
    assert site.study().lane is Lane.ROUTINE


def test_the_order_of_a_merged_patient_is_found(site: Site):
    site.receive()
    site.tell(merge("P1", "P9"), message("ORM^O01", pid("P9^^^HOSP"), ORDER, obr(priority="S")))
    assert site.study().lane is Lane.STAT


def test_the_latest_word_on_an_order_counts_and_a_cancelled_one_says_nothing(site: Site):
    site.receive(priority="HIGH")

    def say(control: str, priority: str, at: str) -> Lane:
        site.tell(message("ORM^O01", pid(), f"ORC|{control}|1", obr(priority=priority), at=at))
        return site.study().lane

    assert say("XO", "R", "20260102031000") is Lane.ROUTINE
    assert say("XO", "S", "20260102032000") is Lane.STAT
    assert say("XO", "R", "20260102031500") is Lane.STAT
    assert say("CA", "", "20260102033000") is Lane.URGENT
    assert say("NW", "S", "20260102034000") is Lane.STAT


def test_several_orders_under_one_accession_number_are_one_and_none_takes_from_another(site: Site):
    site.receive()
    stat = ("ORC|NW|1", obr(priority="S", reason="^Thunderclap headache"))
    site.tell(message("ORM^O01", pid(), *stat, "ORC|NW|2", obr(priority="R", reason="^Neck pain")))
    assert site.study().lane is Lane.STAT
    assert [value for _, value in site.known()] == ["Thunderclap headache", "Neck pain"]
    site.tell(message("ORM^O01", pid(), "ORC|CA|1", obr(), "ORC|NW|2", obr(priority="A"), at="20260102030500"))
    assert site.study().lane is Lane.URGENT


def test_orders_of_one_accession_number_that_come_apart_take_nothing_from_each_other(site: Site):
    site.receive()

    def say(control: str, number: str, priority: str, reason: str, minute: int) -> Lane:
        order = (f"ORC|{control}|{number}^HIS", obr(priority=priority, reason=reason))
        site.tell(message("ORM^O01", pid(), *order, at=f"2026010203{minute:02}00"))
        return site.study().lane

    assert say("NW", "1", "S", "^Thunderclap headache", 10) is Lane.STAT
    assert say("NW", "2", "R", "^Neck pain", 11) is Lane.STAT
    assert [value for _, value in site.known()] == ["Thunderclap headache", "Neck pain"]
    assert say("CA", "2", "", "", 12) is Lane.STAT
    assert [value for _, value in site.known()] == ["Thunderclap headache"]
    assert say("NW", "3", "A", "^Fall", 13) is Lane.STAT
    assert say("CA", "1", "", "", 14) is Lane.URGENT
    assert [value for _, value in site.known()] == ["Fall"]
    assert say("CA", "3", "", "", 15) is Lane.ROUTINE


def test_an_order_is_the_same_by_either_of_its_numbers_with_which_it_comes(site: Site):
    site.receive(priority="HIGH")

    def say(numbers: str, priority: str, minute: int) -> Lane:
        site.tell(message("ORM^O01", pid(), f"ORC|XO|{numbers}", obr(priority=priority), at=f"2026010203{minute:02}00"))
        return site.study().lane

    # One that has no number yet, then the placer's, then both, then the filler's alone, then none again.
    lanes = [say(numbers, *said) for numbers, said in zip(
        ("", "1", "1|F7", "|F7", "", "1"), [("S", 1), ("R", 2), ("S", 3), ("R", 4), ("S", 5), ("R", 6)], strict=True
    )]  # fmt: skip
    assert lanes == [Lane.STAT, Lane.ROUTINE, Lane.STAT, Lane.ROUTINE, Lane.STAT, Lane.ROUTINE]
    assert len(site.db.rows("SELECT id FROM told_order")) == 1


def test_of_several_orders_the_one_that_names_the_study_counts_for_it(site: Site):
    site.receive()
    named = ("ORC|NW|2", obr(priority="A"), f"ZDS|{STUDY}^RADIS^Application^DICOM")
    site.tell(message("ORM^O01", pid(), "ORC|NW|1", obr(priority="S")))
    assert site.study().lane is Lane.STAT
    site.tell(message("ORM^O01", pid(), *named, at="20260102030100"))
    assert site.study().lane is Lane.URGENT
    site.tell(message("ORM^O01", pid(), "ORC|CA|2", obr(), named[2], at="20260102030200"))
    assert site.study().lane is Lane.STAT


def test_what_was_told_of_an_order_before_it_had_a_number_is_of_the_first_that_has_one(site: Site):
    site.receive()
    site.tell(message("ORM^O01", pid(), "ORC|NW|", obr(priority="S", reason="^Fall")))
    site.tell(message("ORM^O01", pid(), "ORC|CA|1", obr(), at="20260102030100"))
    assert (site.study().lane, site.known()) == (Lane.ROUTINE, [])


def test_the_order_of_another_study_under_the_same_accession_number_raises_and_never_lowers(site: Site):
    site.receive(priority="HIGH")

    def say(priority: str, at: str) -> Lane:
        site.tell(
            message("ORM^O01", pid(), ORDER, obr(priority=priority), "ZDS|1.2.3.4^RADIS^Application^DICOM", at=at)
        )
        return site.study().lane

    assert say("R", "20260102031000") is Lane.URGENT
    assert say("S", "20260102032000") is Lane.STAT


def test_a_priority_that_this_node_asked_for_is_no_persons_when_it_comes_back(site: Site):
    site.receive()
    echo = obr(priority="S").replace("CT^CT head^L", "TRIAGE^Triage^99MATINS")
    assert site.tell(message("ORM^O01", pid(), "ORC|XO|ACC1", echo)) == {MessageState.UNUSED: 1}
    assert site.study().lane is Lane.ROUTINE


def test_before_a_study_comes_the_more_urgent_of_order_and_object_counts(site: Site):
    site.tell(message("ORM^O01", pid(), ORDER, obr(priority="R")))
    site.receive(priority="STAT")
    assert site.study().lane is Lane.STAT


def test_why_it_was_ordered_is_known(site: Site):
    site.tell(message("ORM^O01", pid(), ORDER, obr(reason="I63.9^Stroke?^I10~^Fall")))
    assert site.known() == [("reason_for_request", "Stroke?"), ("reason_for_request", "Fall")]
    site.tell(message("ORM^O01", pid(), "ORC|CA|4711", obr()))
    assert site.known() == []


def report(status: str, accession: str = "ACC1", *more: str, filler: str = "R1^RADIS") -> bytes:
    section = obr(accession, section="RAD", status=status).split("|")
    section[3] = filler
    return message("ORU^R01", pid(), "|".join(section), *more)


IMPRESSION = "OBX|1|TX|19005-8^Impression^LN||No bleeding.||||||F"


@pytest.mark.parametrize("is_first", [True, False])
def test_a_signed_report_is_known_whether_it_comes_before_or_after_the_study(site: Site, is_first: bool):
    steps: list[Callable[[], object]] = [lambda: site.tell(report("P"), report("F", "ACC1", IMPRESSION)), site.receive]
    for step in steps if is_first else steps[::-1]:
        step()
    assert (site.study().report_state, site.study().report_told_by) == (ReportState.FINAL, "hl7 RIS")
    assert site.known() == [("report", "No bleeding.")]


@pytest.mark.parametrize(
    ("status", "state"),
    [("I", ReportState.BEING_READ), ("P", ReportState.PRELIMINARY), ("F", ReportState.FINAL), ("C", ReportState.FINAL),
     ("X", ReportState.UNREAD), ("O", ReportState.UNREAD)],
)  # fmt: skip
def test_the_status_of_a_report_says_how_far_it_is(site: Site, status: str, state: ReportState):
    site.receive()
    site.tell(report(status))
    assert site.study().report_state is state


def test_an_order_message_tells_of_a_report_only_by_a_change_of_status(site: Site):
    site.receive()
    site.tell(message("ORM^O01", pid(), "ORC|NW|1", obr(status="F")))
    assert site.study().report_state is ReportState.UNREAD
    site.tell(message("ORM^O01", pid(), "ORC|SC|1", obr(status="F")))
    assert site.study().report_state is ReportState.FINAL


@pytest.mark.parametrize(
    "echo",
    [
        report("F", filler="7^MATINS"),
        report("F", "ACC1", "OBX|1|ST|LANE^Triage lane^99MATINS||STAT||||||F"),
        report("F", "ACC1", "OBX|1|TX|19005-8&IMP^^LN||x||||||F||||MATINS"),
    ],
)
def test_what_this_node_told_itself_is_no_report(site: Site, echo: bytes):
    site.receive()
    site.tell(echo)
    assert site.study().report_state is ReportState.UNREAD
    assert site.known() == []


def test_a_study_that_is_made_after_the_report_of_its_order_is_unread(site: Site):
    site.tell(report("F").replace(b"20260102030000", b"20251231230000"))
    site.receive()
    site.tell(report("F").replace(b"20260102030000", b"20251231231000"))
    assert site.study().report_state is ReportState.UNREAD
    site.tell(report("F"))
    assert site.study().report_state is ReportState.FINAL


def test_a_report_of_which_one_part_is_not_signed_is_not_signed(site: Site):
    site.receive()
    parts = [obr(section="RAD", status=status) for status in ("F", "P", "F")]
    site.tell(message("ORU^R01", pid(), *parts))
    assert site.study().report_state is ReportState.PRELIMINARY


@pytest.mark.parametrize("is_first", [True, False])
def test_the_report_of_another_study_under_the_same_accession_number_reads_nothing(site: Site, is_first: bool):
    steps: list[Callable[[], object]] = [lambda: site.tell(report("F", "ACC1", "ZDS|1.2.3.4^RADIS")), site.receive]
    for step in steps if is_first else steps[::-1]:
        step()
    assert site.study().report_state is ReportState.UNREAD
    site.tell(report("F", "ACC1", f"ZDS|{STUDY}^RADIS"))
    assert site.study().report_state is ReportState.FINAL


def test_a_report_by_an_accession_number_that_two_studies_bear_reads_neither_and_says_so(site: Site):
    site.receive()
    site.receive(study=f"{STUDY}.7")
    site.tell(report("P"))
    assert site.study().report_state is ReportState.PRELIMINARY
    site.tell(report("F"))
    assert site.study().report_state is ReportState.PRELIMINARY
    [told] = [each for each in events.of_study(site.db, STUDY) if each.after == "not taken"]
    assert "several studies" in told.reason


def test_what_a_person_takes_back_stays_so_when_the_study_closes_again(site: Site):
    site.receive()
    site.tell(report("F"))
    with site.db.transaction():
        assert reported.take_back(site.db, site.clock.now(), site.policy, STUDY, told_by="maria")
        ordered.arrived(site.db, site.clock.now(), site.policy, STUDY)
    assert (site.study().report_state, site.study().report_told_by) == (ReportState.UNREAD, "maria")
    site.tell(report("F"))
    assert site.study().report_state is ReportState.FINAL


def test_a_report_of_somebody_else_reads_nothing(site: Site):
    site.receive()
    wrong = [
        report("F").replace(b"P1^^^HOSP", b"P9^^^HOSP"),
        report("F").replace(b"P1^^^HOSP", b"P1^^^OTHERHOSP"),
        report("F").replace(b"19700101", b"19550505"),
    ]
    site.tell(*wrong, report("F", "ACC2"), report("F", ""))
    assert site.study().report_state is ReportState.UNREAD


# ----------------------------------------------------------------------------------------------------- exactly once


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("after", ["count_attempt", "act_upon", "move"])
def test_who_is_killed_between_keeping_and_acting_leaves_it_to_the_next_start(
    site: Site, monkeypatch: pytest.MonkeyPatch, after: str
):
    site.receive()
    where = applying if after == "act_upon" else hl7_messages
    whole = getattr(where, after)

    def die(*given: object, **named: object) -> object:
        whole(*given, **named)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(where, after, die)
        with pytest.raises(Killed):
            site.tell(message("ADT^A08", pid(), ALLERGY))
    assert (site.known(), hl7_messages.tally(site.db)) == ([], {MessageState.RECEIVED: 1})
    site.settle()
    site.settle()
    assert site.known() == [("allergy", "Amoxicillin: hives")]
    assert [each.about for each in events.of_study(site.db, STUDY)].count("history") == 1


def test_a_message_over_which_something_unforeseen_happens_is_left_aside_and_seen(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_given: object, **_named: object) -> list[str]:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(applying, "act_upon", fail)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                site.tell() if hl7_messages.tally(site.db) else site.tell(message("ADT^A08", pid(), ALLERGY))
    site.tell(message("ADT^A08", pid(), "DG1|1||I10^Hypertension^I10"))
    assert hl7_messages.tally(site.db) == {MessageState.APPLIED: 1, MessageState.FAILED: 1}
    assert site.known() == [("problem", "Hypertension")]
    assert [each.state for each in hl7_messages.troubles(site.db)] == [MessageState.FAILED]


def test_a_database_that_is_busy_for_long_costs_no_message(site: Site, monkeypatch: pytest.MonkeyPatch):
    def busy(*_given: object, **_named: object) -> list[str]:
        raise Transient("database: database is locked")

    counted, owed = hl7_messages.count_attempt, Counter[int]()
    with monkeypatch.context() as patched:
        patched.setattr(applying, "act_upon", busy)
        patched.setattr(
            hl7_messages, "count_attempt", lambda db, one, *, back=False: busy() if back else counted(db, one)
        )
        with pytest.raises(Transient):
            site.tell(message("ADT^A08", pid(), ALLERGY))
        for _ in range(4):
            with pytest.raises(Transient):
                apply_next(site.db, site.clock, site.policy, owed)
    owed[1] += 1
    assert apply_next(site.db, site.clock, site.policy, owed)
    assert site.known() == [("allergy", "Amoxicillin: hives")]


def test_old_messages_are_forgotten_but_none_that_waits(site: Site):
    site.tell(message("ADT^A08", pid(), ALLERGY))
    with site.db.transaction():
        hl7_messages.keep(
            site.db, site.clock.now(), sender="RIS", control_id="w", digest="w", kind="", content=b"",
            state=MessageState.RECEIVED,
        )  # fmt: skip
    site.tell(*[message("ADT^A08", pid(), ALLERGY)] * 2)
    site.db.execute("UPDATE hl7_message SET state = 'received' WHERE control_id = 'w'")
    later = site.clock.forward(1.0).iso
    assert [hl7_messages.forget(site.db, later, limit=2) for _ in range(3)] == [2, 1, 0], "a few at a time"
    assert hl7_messages.tally(site.db) == {MessageState.RECEIVED: 1}


def test_the_story_of_a_study_tells_who_the_patient_is_today_and_what_was_ordered(site: Site):
    site.receive()
    site.tell(merge("P1", "P9"), message("ADT^A31", pid(name="Roe^Jane"), at="20260102030100"))
    site.tell(message("ORM^O01", pid(), ORDER, obr(priority="S")))
    story = study_story(site.db, STUDY)
    assert story is not None
    assert (story["patient_id"], story["patient_name"]) == ("P1", "Doe^Jane")
    assert (story["known_as"]["patient_id"], story["known_as"]["other_patient_ids"]) == ("P9", ["P9"])
    assert story["known_as"]["patient_name"] == "Roe^Jane"
    [order] = story["told_orders"]
    assert (order["requested_procedure_priority"], order["cancelled"], order["told_by"]) == ("STAT", False, "hl7 RIS")
