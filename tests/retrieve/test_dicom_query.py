from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from node.errors import Failed, Transient
from node.retrieve.dicom_query import instances_of_study
from node.retrieve.question import Question
from tests.fakes import STUDY
from tests.retrieve.conftest import OTHER_SERVICE, Archive
from tests.site import ROOT, free_port

Start = Callable[..., Archive]


def question(port: int, **changes: object) -> Question:
    values = {
        "peer": "SCANNER",
        "host": "127.0.0.1",
        "port": port,
        "their_ae_title": "ARCHIVE",
        "our_ae_title": "MATINS",
        "study_instance_uid": STUDY,
        "connect_s": 5.0,
        "answer_s": 20.0,
    }
    return Question.model_validate(values | changes)


def test_an_archive_says_how_many_instances_a_study_has(archive: Start) -> None:
    asked = archive(answers=[(STUDY, 384)])
    assert instances_of_study(question(asked.port)) == 384
    (identifier,) = asked.asked
    assert identifier.QueryRetrieveLevel == "STUDY"
    assert identifier.StudyInstanceUID == STUDY
    assert {element.keyword for element in identifier} == {
        "QueryRetrieveLevel",
        "StudyInstanceUID",
        "NumberOfStudyRelatedInstances",
    }


@pytest.mark.parametrize("uid", ["", "*", "1.2.*", "1.2.?", "1.2\\1.3", "1.2..3", "UNKNOWN", "1." * 40 + "1", "1.2 "])
def test_nothing_but_one_whole_uid_can_be_asked_for(uid: str) -> None:
    with pytest.raises(ValidationError):
        question(1, study_instance_uid=uid)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"answers": []}, "does not hold the study"),
        ({"answers": [("1.2.3.4.5", 7)]}, "does not hold the study"),
        ({"answers": [(STUDY, None)]}, "does not say how many"),
        ({"answers": [(STUDY, 0)]}, "does not say how many"),
        ({"answers": [(STUDY, -4)]}, "does not say how many"),
        ({"answers": [(STUDY, 999_999_999)]}, "does not say how many"),
        ({"answers": [("1.2.3.4.5", 7)] * 30}, "other studies than the one asked for"),
        ({"knows": "SOMEBODY"}, "rejects the association (1/1/3)"),
        ({"services": OTHER_SERVICE}, "answers no Study Root queries"),
    ],
)
def test_what_asking_again_would_not_change_is_final(archive: Start, settings: dict[str, object], reason: str) -> None:
    asked = archive(**settings)
    with pytest.raises(Failed) as caught:
        instances_of_study(question(asked.port))
    assert reason in str(caught.value)


def test_the_answer_about_another_study_is_not_believed(archive: Start) -> None:
    asked = archive(answers=[("1.2.3.4.5", 7), (STUDY, 3)])
    assert instances_of_study(question(asked.port)) == 3


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC001, 0xFE00, 0x0122])
def test_a_refused_query_is_tried_again(archive: Start, status: int) -> None:
    asked = archive(answers=[], status=status)
    with pytest.raises(Transient, match=f"0x{status:04X}"):
        instances_of_study(question(asked.port))


def test_an_archive_that_does_not_answer_is_tried_again(archive: Start) -> None:
    asked = archive(hangs=True)
    with pytest.raises(Transient, match="no answer within"):
        instances_of_study(question(asked.port, answer_s=0.5))


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_nobody_at_the_port_is_tried_again() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Transient, match="nobody answers"):
            instances_of_study(question(taken.getsockname()[1]))


def run_process(asked: Question) -> dict[str, object]:
    command = [sys.executable, "-m", "node.retrieve.child"]
    done = subprocess.run(
        command, input=asked.model_dump_json(), capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert done.stderr == ""
    reply: dict[str, object] = json.loads(done.stdout.splitlines()[-1])["reply"]
    return reply


def test_the_process_puts_one_question_and_prints_one_reply(archive: Start) -> None:
    assert run_process(question(archive().port)) == {"count": 3}
    none = run_process(question(archive(answers=[]).port))
    assert none == {"failed": True, "reason": "SCANNER does not hold the study"}
    away = run_process(question(free_port()))
    assert (away["failed"], away["again"]) == (True, True)
