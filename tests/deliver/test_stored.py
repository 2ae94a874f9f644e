from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from node.deliver.stored import read_file, read_header
from node.errors import Failed
from tests.deliver.conftest import EXPLICIT, SEG, UID_ROOT, dataset_bytes, write_object
from tests.fakes import PATIENT

PERSON = replace(PATIENT, name="Müller^Jörg", patient_id=" P 1 ")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_object(tmp_path, 1, PERSON, SEG, 5000)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_header_says_what_it_is_and_whom_it_names(path: Path) -> None:
    header = read_header(path)
    assert (header.sop_class_uid, header.sop_instance_uid) == (SEG, f"{UID_ROOT}.1")
    assert header.transfer_syntax_uid == EXPLICIT
    assert header.patient == replace(PERSON, patient_id="P 1")


def test_the_data_set_is_what_follows_the_file_meta(path: Path) -> None:
    header = read_header(path)
    assert read_file(header, digest(path))[header.start :] == dataset_bytes(path)
    assert header.size == len(dataset_bytes(path))


@pytest.mark.parametrize("content", [b"", b"x" * 5000, bytes(128) + b"DICM", bytes(128) + b"DICM" + b"\xff" * 400])
def test_what_is_no_part_10_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.dcm"
    file.write_bytes(content)
    with pytest.raises(Failed, match="matins force"):
        read_header(file)


def test_a_file_that_was_changed_is_refused(path: Path) -> None:
    kept = digest(path)
    path.write_bytes(path.read_bytes() + b"\0\0")
    with pytest.raises(Failed, match="not what was written"):
        read_file(read_header(path), kept)
