from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.catalogue.targets import check_targets
from node.domain.detection import Detection
from node.domain.model_card import ModelCard, Scope, Task
from node.errors import Misconfigured
from tests.imaging.tasks.cards import EFFUSION, asking, fitted, target


def complaint(key: str, problem: str, remedy: str) -> Misconfigured:
    return Misconfigured(Path("model.toml"), key, problem, remedy)


SOUND = asking(
    Task.CLASSIFICATION, target(0, operating_point=0.5, calibration=fitted()), target(1, EFFUSION), aggregate="mean"
)


def test_sound_targets_are_taken():
    check_targets(SOUND, complaint)
    check_targets(replace(SOUND, task=Task.DETECTION, detection=Detection(linked_from=0.3)), complaint)
    check_targets(replace(SOUND, task=Task.SEGMENTATION, targets=()), complaint)


@pytest.mark.parametrize(
    ("card", "key"),
    [
        (replace(SOUND, targets=()), "targets"),
        (replace(SOUND, targets=(target(0), target(0, EFFUSION))), "targets"),
        (replace(SOUND, targets=(target(-1),)), "targets"),
        (replace(SOUND, targets=(target(label=" "),)), r"targets\[0\]\.label"),
        (replace(SOUND, targets=(target(operating_point=1.5),)), r"targets\[0\]\.operating_point"),
        (replace(SOUND, targets=(target(calibration=fitted(temperature=0.0)),)), r"targets\[0\]\.calibration"),
        (replace(SOUND, targets=(target(calibration=fitted(bias=float("nan"))),)), r"targets\[0\]\.calibration"),
        (replace(SOUND, targets=(target(calibration=replace(fitted(), cases=0)),)), "calibration.cases"),
        (replace(SOUND, aggregate="median"), "aggregate"),
        (replace(SOUND, task=Task.DETECTION, scope=Scope.IMAGE), "scope"),
        (replace(SOUND, detection=Detection(suppressed_from=0.0)), "detection.suppressed_from"),
        (replace(SOUND, detection=Detection(linked_from=2.0)), "detection.linked_from"),
        (replace(SOUND, detection=Detection(most=0)), "detection.most"),
    ],
)
def test_targets_that_cannot_be_meant_are_refused_by_their_key(card: ModelCard, key: str):
    with pytest.raises(Misconfigured, match=key):
        check_targets(card, complaint)
