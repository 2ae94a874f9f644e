from __future__ import annotations

from dataclasses import replace

import pytest

from node.receive import note
from node.store.arrivals import Arrival
from tests.fakes import FakeClock

ARRIVAL = Arrival(
    study_instance_uid="1.2",
    series_instance_uid="1.2.3",
    sop_instance_uid="1.2.3.4",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
    transfer_syntax_uid="1.2.840.10008.1.2.1",
    digest="ab" * 16,
    size=1234,
    path="",
    source="SCÄNNER",
    lossy=True,
    retrieved=True,
)


def test_a_note_is_read_as_it_was_written() -> None:
    now = FakeClock().now()
    assert note.read(note.written(now, ARRIVAL), "spool/x") == (now, replace(ARRIVAL, path="spool/x"))


def test_a_note_that_names_a_file_keeps_to_it() -> None:
    named = replace(ARRIVAL, path="spool/ab/a.dcm")
    assert note.read(note.written(FakeClock().now(), named), "")[1] == named


def test_a_note_of_an_older_version_lacks_what_has_a_default() -> None:
    written = note.written(FakeClock().now(), replace(ARRIVAL, retrieved=False))
    assert note.read(written.replace(b',"retrieved":false', b""), "spool/x")[1] == replace(
        ARRIVAL, retrieved=False, path="spool/x"
    )


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff"])
def test_what_is_no_note_is_told(text: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        note.read(text, "")
