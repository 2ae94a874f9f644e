"""Every line is one line, names no patient, and shows no control character that a peer has sent."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from node import log
from node.domain.patient import Patient

CANARY = "Canary^Tweety"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, show = root.handlers[:], root.level, warnings.showwarning
    yield
    structlog.reset_defaults()
    root.handlers[:], warnings.showwarning = handlers, show
    root.setLevel(level)
    for name in log._TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(out: io.StringIO) -> list[str]:
    text = out.getvalue()
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


def one_event(form: log.Form = "json", **keys: object) -> str:
    out = io.StringIO()
    log.configure("listen", form, out)
    structlog.get_logger().info("stored", **keys)
    (line,) = lines(out)
    return line


def test_a_line_has_room_level_event_keys_and_a_time_in_utc():
    event = json.loads(one_event(study_instance_uid="2.25.1", duration_s=0.25, count=3))
    assert event.pop("at").endswith("Z")
    assert event == {
        "event": "stored",
        "level": "info",
        "room": "listen",
        "study_instance_uid": "2.25.1",
        "duration_s": 0.25,
        "count": 3,
    }


def test_text_form_is_key_equals_value():
    line = one_event("text", model="brain-t1", reason="two words")
    assert line.startswith("at=")
    assert line.endswith('level=info room=listen event=stored model=brain-t1 reason="two words"')


def test_auto_is_json_where_no_terminal_reads():
    assert json.loads(one_event("auto"))["event"] == "stored"


def test_auto_is_text_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    log.configure("listen", "auto", out)
    structlog.get_logger().info("stored")
    assert out.getvalue().endswith("event=stored\n")


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "key",
    ["patient_name", "patient_id", "birth_date", "accession_number", "PatientName", "PatientBirthDate", "Patient ID"],
)
def test_a_key_that_names_a_patient_is_dropped(form: log.Form, key: str):
    line = one_event(form, **{key: CANARY}, nested={key: CANARY, "deeper": [{key: CANARY}]})
    assert "Canary" not in line
    assert "nested" in line


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_object_is_shown_by_its_type_alone(form: log.Form):
    line = one_event(form, who=Patient(name=CANARY, patient_id="4711"), raw=CANARY.encode(), several=[Patient()])
    assert "Canary" not in line
    assert "4711" not in line
    assert "<Patient>" in line
    assert "<bytes>" in line


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_a_peer_sends_cannot_forge_a_line_or_move_the_cursor(form: log.Form):
    line = one_event(
        form, calling_ae_title="EVIL\r\nlevel=info event=forged\x1b[2J\x9b1m\u2028\u202e", path=Path("a\nb")
    )
    assert not any(mark in line for mark in "\r\n\x1b\x9b\u2028\u202e")
    assert "x0d" in line
    assert "x1b" in line


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=40), max_size=3), st.sampled_from(["json", "text"]))
def test_any_text_gives_one_printable_line(values: dict[str, str], form: log.Form):
    line = one_event(form, values=values, **{f"k{key}": text for key, text in values.items()})
    assert not any(ord(mark) < 0x20 or 0x7F <= ord(mark) < 0xA0 for mark in line)
    line.encode("utf-8")


def test_a_long_value_is_cut_and_keeps_its_end():
    event = json.loads(one_event(reason="a" * 70_000 + "the end"))
    assert len(event["reason"]) < 2100
    assert event["reason"].endswith("the end")


def test_numbers_and_enums_keep_their_values():
    import numpy as np

    class Lane(Enum):
        STAT = "STAT"

    event = json.loads(one_event(lane=Lane.STAT, n=np.int64(3), x=np.float32(0.5), nan=float("nan"), no=None, yes=True))
    assert (event["lane"], event["n"], event["x"], event["nan"]) == ("STAT", 3, 0.5, "nan")
    assert event["no"] is None
    assert event["yes"] is True


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_is_one_line_with_its_reason(form: log.Form):
    out = io.StringIO()
    log.configure("infer", form, out)
    try:
        raise ValueError("slices\nmissing")
    except ValueError:
        structlog.get_logger().exception("work_failed", work_item=7)
    (line,) = lines(out)
    assert "Traceback (most recent call last): | File " in line
    assert "ValueError: slices | missing" in line


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_librarys_message_takes_the_same_way(form: log.Form):
    out = io.StringIO()
    log.configure("deliver", form, out)
    try:
        raise OSError("away\r\nforged")
    except OSError:
        logging.getLogger("pynetdicom.ae").exception("peer %s\n", "EVIL\x1b[0m")
    (line,) = lines(out)
    assert "OSError: away" in line
    assert "\x1b" not in line
    assert "deliver" in line


def test_a_talkative_library_is_heard_only_for_errors():
    out = io.StringIO()
    log.configure("listen", "json", out)
    logging.getLogger("pynetdicom.acse").warning("A-ASSOCIATE from %s", CANARY)
    logging.getLogger("pydicom").warning("Invalid value for VR PN: %s", CANARY)
    assert lines(out) == []


def test_a_python_warning_tells_its_place_and_not_its_text():
    out = io.StringIO()
    log.configure("report", "json", out)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = log._show_warning
        warnings.warn(f"Invalid value for VR PN: '{CANARY}'", UserWarning, stacklevel=1)
    (line,) = lines(out)
    event = json.loads(line)
    assert "Canary" not in line
    assert event["category"] == "UserWarning"
    assert "test_log.py" in event["place"]


def test_below_the_level_nothing_is_written():
    out = io.StringIO()
    log.configure("listen", "json", out)
    structlog.get_logger().debug("detail")
    assert lines(out) == []
