"""What node/HL7.md says is so: its samples are taken, and its tables are those of the code."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.receive.hl7 import orders, understanding
from node.receive.hl7.syntax import NotUnderstood
from node.receive.hl7.understanding import NotTaken, understood
from node.store import history, identities
from node.store.database import Database
from node.store.hl7_messages import MessageState
from node.workflow.closing import close_due
from tests.fakes import PATIENT, slice_of
from tests.fakes import arrive as arrive_one
from tests.receive.hl7.messages import SENDER, message, pid
from tests.receive.hl7.test_applying import Site, db, site  # noqa: F401  fixtures

PAGE = (Path(__file__).parents[3] / "node" / "HL7.md").read_text()
SAMPLES = [block.strip().replace("\n", "\r").encode() for block in re.findall(r"```hl7\n(.*?)```", PAGE, re.DOTALL)]


def test_every_sample_is_taken_and_does_what_is_said_of_it(site: Site, db: Database):  # noqa: F811
    order = replace(slice_of(0).order, accession_number="A17")
    for number in range(3):
        arrive_one(db, site.clock.now(), replace(slice_of(number), order=order))
    close_due(db, site.clock.forward(1000.0), site.policy)
    lanes = []
    for sample in SAMPLES:
        assert set(site.tell(sample)) == {MessageState.APPLIED}
        lanes.append(site.study().lane)
    assert lanes == [Lane.ROUTINE, Lane.ROUTINE, Lane.STAT, Lane.URGENT, Lane.URGENT, Lane.URGENT]
    assert identities.identifiers(db, PATIENT) == ["P1", "P2"]
    assert site.study().report_state is ReportState.FINAL
    assert {fact.value for fact in history.facts(db, PATIENT, study="")} == {
        "ED 12 A", "emergency", "MED", "Amoxicillin: hives", "Pulmonary embolism", "sudden headache",
        "Subarachnoid haemorrhage?", "4.2", "D-dimer critically high", "Subarachnoid haemorrhage.",
    }  # fmt: skip


def events_of(row: str) -> set[str]:
    """The events that a row of the table names, "A41 to A46" among them."""
    [line] = [each for each in PAGE.splitlines() if each.startswith(f"| ADT {row}")]
    named = line.split("|")[1]
    for first, last in re.findall(r"A(\d\d) to A(\d\d)", named):
        named += "".join(f" A{number:02}" for number in range(int(first), int(last) + 1))
    return set(re.findall(r"A\d\d", named))


def test_the_events_that_are_named_are_those_that_are_taken():
    admissions, over = events_of("A01"), events_of("A03")
    assert admissions | over == understanding._ADMISSIONS
    assert over == understanding._VISIT_OVER
    assert events_of("A40") == understanding._MERGES
    assert events_of("A18") == understanding._UNSURE
    for number in range(1, 63):
        event = f"A{number:02}"
        try:
            understood(message(f"ADT^{event}", pid()), SENDER, ours=frozenset())
            outcome = "taken"
        except NotTaken:
            outcome = "AR"
        except NotUnderstood:
            outcome = "AE"
        # A merge or separation needs more segments than this has.
        known = admissions | over
        expected = (
            "taken" if event in known else "AE" if event in understanding._MERGES | understanding._UNSURE else "AR"
        )
        assert outcome == ("AE" if event == "A37" else expected), event


@pytest.mark.parametrize("words", [orders._CANCELS])
def test_what_cancels_an_order_is_named(words: frozenset[str]):
    named = re.search(r"cancelled order \(ORC-1 ([A-Z, ]+);", PAGE.replace("\n", " "))
    assert named is not None
    assert set(named[1].split(", ")) == words
