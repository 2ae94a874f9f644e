from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.receive.hl7.syntax import Delimiters, NotUnderstood, escaped, header_of, parsed, unescaped
from node.receive.hl7.understanding import NotTaken, understood
from tests.receive.hl7.messages import SENDER, message, pid

DELIMITERS = Delimiters()
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
#: Texts of what the format is made of.
HOSTILE = st.lists(
    st.sampled_from([*"|^~\\&\r\n\x0b\x1c", "\\F\\", "\\X0D\\", "\\X", "MSH", "PID|", '""', "é", "\x00", "A"])
)


@given(TEXTS | HOSTILE.map("".join))
def test_a_text_that_was_escaped_is_read_back(text: str):
    written = escaped(text, DELIMITERS, "utf-8")
    assert not set(written) & set("|^~&\r\n\x0b\x1c")
    assert unescaped(written, DELIMITERS, "utf-8") == text


@given(HOSTILE.map("".join))
def test_no_text_is_too_strange_to_be_unescaped(text: str):
    assert isinstance(unescaped(text, DELIMITERS), str)


@given(TEXTS.filter(str.strip))
def test_a_field_is_read_as_it_was_written(text: str):
    line = f"OBX|1|TX|^^A~B||{escaped(text, DELIMITERS, 'utf-8')}^second"
    obx = parsed(message("ADT^A08", line, more="||||||UNICODE UTF-8"), "ASCII").one("OBX")
    assert obx is not None
    assert (obx.text(5), obx.text(5, 2)) == (text.strip(), "second")
    assert [each.text(1) for each in obx.elements(3)] == ["", "B"]


@given(st.lists(st.sampled_from([b"|", b"^", b"~", b"\\", b"&", b"\r", b"PID", b"MRG|", b"\xc3", b"1", b"ORC|NW", b'""',
                                 b"20260101", b"OBR", b"|||||||", b"OBX|1|NM|"]), max_size=40),
       st.sampled_from(["ADT^A08", "ADT^A40", "ADT^A37", "ORM^O01", "OMI^O23", "ORU^R01"]))  # fmt: skip
def test_whatever_comes_is_understood_or_refused_with_a_reason(pieces: list[bytes], kind: str):
    content = message(kind, pid()) + b"".join(pieces)
    with suppress(NotUnderstood, NotTaken):
        understood(content, SENDER, ours=frozenset())


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f"),
        (r"C:\temp\new", r"C:\temp\new"),
        (r"\H\bold\N\ plain", "bold plain"),
        (r"one\.br\two\.sp2\three", "one\ntwo\nthree"),
        (r"\X4142\\XZZ\ ", r"AB\XZZ\ "),
        ("\\", "\\"),
        (r"\X\F\ ", "\\X| "),
    ],
)
def test_escapes_mean_what_the_standard_says(written: str, meant: str):
    assert unescaped(written, DELIMITERS) == meant


def test_delimiters_of_the_sender_count():
    obx = parsed(b"MSH#*:!%#A#B\rOBX#1#TX#a*b%c:d#x!F!y", "ASCII").one("OBX")
    assert obx is not None
    assert (obx.text(3), obx.text(3, 2), obx.text(3, 2, 2), obx.text(4)) == ("a", "b", "c", "x#y")


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("8859/1", "latin-1"), ("8859/2", "iso8859-2"), ("8859/15", "iso8859-15"), ("UNICODE UTF-8", "utf-8"),
     ("GB 18030-2000", "gb18030"), ("BIG-5", "big5"), ("KS X 1001", "euc_kr")],
)  # fmt: skip
def test_a_character_set_is_read(name: str, encoding: str):
    # The second byte of 功 in BIG-5 is that of a backslash.
    name_of = {"8859/2": "Żółć", "GB 18030-2000": "张", "BIG-5": "功夫", "KS X 1001": "김"}.get(name, "Müller")
    content = message("ADT^A08", more=f"||||||{name}") + f"PID|1||P1||{name_of}^A".encode(encoding)
    segment = parsed(content, "ASCII").one("PID")
    assert segment is not None
    assert segment.text(5) == name_of


@pytest.mark.parametrize(
    "content",
    [
        b"", b"MSH", b"MSH|^~\\&", b"MSH|||||", b"MSH|^^^^|A", b"MSHA^~\\&A", b"PID|1\rMSH|^~\\&|",
        message("ADT^A08", "pid|1"), message("ADT^A08", "PIDX"), message("ADT^A08", *["NTE|1"] * 5000),
        message("ADT^A08", more="||||||UNICODE"),
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(content: bytes):
    with pytest.raises(NotUnderstood):
        parsed(content, "ASCII")


@pytest.mark.parametrize("piece", ["|", "^", "~", "&", "\\", "~^&", "\\X41\\", "A|"])
def test_delimiters_by_the_million_cost_no_more_than_their_text(piece: str):
    content = message("ADT^A08", pid("P1^^^HOSP" + piece * (2_000_000 // len(piece))))
    began_s = time.process_time()
    with suppress(NotUnderstood):
        understood(content, SENDER, ours=frozenset())
    assert time.process_time() - began_s < 10


def test_the_header_alone_needs_no_character_set():
    header = header_of("\r\nMSH|^~\\&|RÄDIS|H\rPID|Ж".encode())
    assert header.text(3).startswith("R")
