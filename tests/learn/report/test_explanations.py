"""The part of a report that tells how far explanations are to be trusted, on a page and in print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from node.commands.reporting import Asked, explain
from node.learn.dataset import open_dataset
from node.learn.explained.explanations import Explanations, write_explanations
from node.learn.explained.measuring import Shown
from node.learn.explained.summary import summarised
from node.learn.explained.table import Explaining
from node.learn.prediction import Prediction
from node.learn.report import write_run_report
from node.learn.report.looking import RunLooker
from tests.learn.report import pdf, runs
from tests.learn.report.test_report import Page
from tests.learn.synthetic import write_picture

TITLE = "How far its explanations are to be trusted"
NAMES = ("Grad-CAM", "guided Grad-CAM", "integrated gradients", "KernelSHAP", "occlusion", "LIME")


class Counted:
    """A shower that counts."""

    def __init__(self, done: runs.Done) -> None:
        self.shown = 0
        self._looker = RunLooker(done.run, done.recipe, done.dataset)

    def show(self, prediction: Prediction, answer: int) -> Shown:
        self.shown += 1
        return self._looker.show(prediction, answer)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> runs.Done:
    """A run of which half of the pictures have masks beside them."""
    found = runs.classified(tmp_path_factory.mktemp("explained"))
    for case in found.dataset.cases[::2]:
        mask = np.zeros((24, 24), np.uint8)
        mask[:12] = 255
        write_picture((found.dataset.source / case.key).with_suffix("").with_name(f"{_stem(case.key)}_mask.png"), mask)
    return replace(found, dataset=open_dataset(found.dataset.source), evaluation=replace(found.evaluation, worst=()))


def _stem(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".png")


def _explained(done: runs.Done, shower: Counted, minutes: float = 60.0) -> Explanations:
    asked = Asked(dataset=done.dataset, classes=done.evaluation.classes, quiet=True)
    said = [each for each in done.predictions if each.part == "test"]
    found = explain(said, shower, Explaining(cases=3, minutes=minutes), asked, done.run.explanations)
    assert found is not None
    return found


def test_it_is_told_and_not_measured_twice(done: runs.Done) -> None:
    shower = Counted(done)
    found = _explained(done, shower)
    assert shower.shown == 3
    html, printed = write_run_report(done.run, done.evaluation)
    page = Page(html.read_text(encoding="utf-8"))
    words, print_words = " ".join(page.words), " ".join(pdf.pages(printed.read_bytes()))
    for each in (TITLE, "3 of them have a mask", "each by the network that had not seen it", *NAMES):
        assert each in words
        assert each in print_words
    told = summarised(found)
    rows = {row[0][0]: row for row in page.tables["Where the maps point"][1:]}
    assert [rows["LIME"][place][1] for place in (1, 5, 8)] == [
        told["lime"].figures["pointing_game"].value,
        told["lime"].figures["pointing_near"].value,
        told["lime"].figures["mass_inside"].value,
    ]
    assert rows["(chance)"][1][1] == pytest.approx(0.5)
    checks = {row[0][0]: row for row in page.tables["The same network with shuffled weights"][1:]}
    assert checks["Grad-CAM"][-2][1] == told["grad-cam"].failed
    costs = {
        row[0][0]: row for caption, rows in page.tables.items() if caption.startswith("What a map") for row in rows
    }
    assert [value for _, value in costs["Grad-CAM"][1:3]] == [1, 2.0]
    assert _explained(done, shower) == found
    assert shower.shown == 3


def test_what_the_time_was_too_short_for_is_said(done: runs.Done) -> None:
    done.run.explanations.unlink(missing_ok=True)
    found = _explained(done, Counted(done), minutes=1e-9)
    assert not found.is_complete
    html, _ = write_run_report(done.run, done.evaluation)
    assert "were not enough: what lacks figures was left out" in " ".join(Page(html.read_text()).words)


def test_without_masks_and_without_explanations_it_says_so_or_nothing(done: runs.Done) -> None:
    done.run.explanations.unlink(missing_ok=True)
    html, _ = write_run_report(done.run, done.evaluation)
    assert TITLE not in html.read_text(encoding="utf-8")
    alone = replace(done, dataset=replace(done.dataset, cases=tuple(replace(c, masks=()) for c in done.dataset.cases)))
    write_explanations(done.run.explanations, _explained(alone, Counted(alone)))
    html, _ = write_run_report(done.run, done.evaluation)
    page = Page(html.read_text(encoding="utf-8"))
    assert "no mask lies beside these pictures" in " ".join(page.words)
    assert "Where the maps point" not in page.tables
    assert "What the answer loses and gains" in page.tables


def test_none_are_measured_where_none_are_wanted(done: runs.Done, tmp_path: Path) -> None:
    asked = Asked(dataset=done.dataset, classes=done.evaluation.classes, quiet=True)
    file = tmp_path / "explanations.json"
    assert explain(done.predictions, Counted(done), Explaining(cases=0), asked, file) is None
    assert not file.exists()
