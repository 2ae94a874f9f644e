"""The report of a run: it says what the evaluation says, on a page and in print, and names nobody who must not be."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from node.errors import Failed
from node.learn.comparison import FILE_NAME, Comparison, Row, write_comparisons
from node.learn.evaluate.evaluation import Evaluation, Failure
from node.learn.evaluate.figures import Figure
from node.learn.report import HTML, PDF, write_run_report
from node.learn.report.gallery import FOLDER
from node.learn.report.looking import RunLooker, Seen
from tests.learn.report import pdf, runs

ROOT = Path(__file__).resolve().parents[3]


class Page(HTMLParser):
    """Tables by caption, images, and everything that a page could fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[tuple[str, float | None]]]] = {}
        self.images: list[dict[str, str]] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self._caption = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.tags.append((tag, known))
        if tag == "img":
            self.images.append(known)
        if tag in {"meta", "img", "link"}:
            return
        self._open.append(tag)
        if tag == "tr":
            self.tables[self._caption].append([])
        if tag in {"td", "th"}:
            self.tables[self._caption][-1].append(("", None))
        if tag == "data":
            row = self.tables[self._caption][-1]
            row[-1] = ("", float(known["value"]))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, text: str) -> None:
        self.words.append(text)
        if "caption" in self._open and "table" in self._open:
            self._caption = text
            self.tables[text] = []
        elif self._open and self._open[-1] in {"td", "th", "data"}:
            row = self.tables[self._caption][-1]
            row[-1] = (row[-1][0] + text, row[-1][1])


class Watched:
    """A looker that counts."""

    def __init__(self, looker: RunLooker) -> None:
        self.looks = 0
        self._looker = looker

    def look(self, failure: Failure) -> Seen | None:
        self.looks += 1
        return self._looker.look(failure)


def _looker(done: runs.Done) -> RunLooker:
    return RunLooker(done.run, done.recipe, done.dataset)


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> runs.Done:
    done = runs.classified(tmp_path_factory.mktemp("classified"))
    # Fewer pictures say the same.
    done = replace(done, evaluation=replace(done.evaluation, worst=done.evaluation.worst[:3]))
    changed = Row(name="no <mix-up>", changes={"augmentation.mix": "0"}, figures={"auc": Figure(value=0.4321)})
    comparison = Comparison(title="Ablation", rows=(Row(name="as it is", is_chosen=True), changed))
    write_comparisons(done.run.folder / FILE_NAME, [comparison])
    write_run_report(done.run, done.evaluation, _looker(done))
    return done


@pytest.fixture(scope="module")
def outlined(tmp_path_factory: pytest.TempPathFactory) -> runs.Done:
    done = runs.outlined(tmp_path_factory.mktemp("outlined"))
    done = replace(done, evaluation=replace(done.evaluation, worst=done.evaluation.worst[:2]))
    write_run_report(done.run, done.evaluation, _looker(done))
    return done


def _page(done: runs.Done) -> Page:
    return Page((done.run.folder / HTML).read_text(encoding="utf-8"))


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _numbers(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _numbers(each)


def _told(row: list[tuple[str, float | None]], first: int) -> list[float | None]:
    return [value for _, value in row[first:]]


def _wanted(figure: Figure) -> list[float | None]:
    several = [figure.spread, *figure.seeds] if len(figure.seeds) > 1 else []
    return [figure.value, figure.low, figure.high, *several]


def test_figures_on_the_page_are_those_of_the_evaluation(classified: runs.Done) -> None:
    page, found = _page(classified), classified.evaluation.classification
    assert found is not None
    rows = {row[0][0]: row for row in page.tables["Over all classes"][1:]}
    assert len(rows) == len(found.figures)
    for (name, figure), row in zip(found.figures.items(), rows.values(), strict=True):
        assert _told(row, 1) == _wanted(figure), name
    of_classes = iter(page.tables["Of each class against the rest"][1:])
    for each in found.classes:
        for name, figure in each.figures.items():
            row = next(of_classes)
            assert row[0][0] == each.name
            assert row[2][1] == each.cases
            assert _told(row, 3) == _wanted(figure), name
    (confusion,) = [rows for caption, rows in page.tables.items() if caption.startswith("Confusion")]
    assert [tuple(_told(row, 1)) for row in confusion[1:]] == list(found.confusion)
    assert found.operating is not None
    at = page.tables["Operating point, malignant"][1:]
    assert [_told(row, 1) for row in at[:2]] == [
        _wanted(found.operating.sensitivity),
        _wanted(found.operating.specificity),
    ]


def test_a_number_is_written_as_it_is(classified: runs.Done) -> None:
    for caption, rows in _page(classified).tables.items():
        for text, value in (cell for row in rows for cell in row if cell[1] is not None):
            digits = len(text.partition(".")[2]) if "e" not in text else 3
            assert float(text.replace("−", "-")) == pytest.approx(value, abs=0.51 * 10**-digits, rel=1e-3), caption


def test_every_figure_comes_from_the_evaluation(classified: runs.Done, outlined: runs.Done) -> None:
    for done in (classified, outlined):
        known = set(_numbers(asdict(done.evaluation))) | {1.0}
        of_data = {"Trainings", "Cases of each fold", "Classes", "Labels", "Values of the pixels", "Ablation"}
        for caption, rows in _page(done).tables.items():
            if caption in of_data or caption.startswith(("Size:", "What is known of the cases")):
                continue
            for text, value in (cell for row in rows for cell in row):
                assert value is None or value in known, f"{caption}: {text}"


def test_segments_are_told_with_volumes_and_limits(outlined: runs.Done) -> None:
    page, found = _page(outlined), outlined.evaluation.segmentation
    assert found is not None
    rows = iter(page.tables["Of each segment"][1:])
    for segment in found.segments:
        for name, figure in segment.figures.items():
            assert _told(next(rows), 2) == _wanted(figure), name
        assert segment.agreement is not None
        ((_, *limits),) = page.tables[f"Limits of agreement, {segment.name}"][1:]
        assert [value for _, value in limits] == list(asdict(segment.agreement).values())


def test_the_page_fetches_nothing_and_runs_nothing(classified: runs.Done) -> None:
    page = _page(classified)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "form"}
    sources = [known[name] for _, known in page.tags for name in ("src", "href") if name in known]
    assert sources
    assert all(each.startswith(("data:image/", "#")) for each in sources)
    assert not [name for _, known in page.tags for name in known if name.startswith("on")]


def test_the_page_can_be_read_without_seeing_it(classified: runs.Done) -> None:
    page = _page(classified)
    assert page.images
    assert all(len(each["alt"]) > 20 for each in page.images)
    assert [known["lang"] for tag, known in page.tags if tag == "html"] == ["en"]
    headings = [known["scope"] for tag, known in page.tags if tag == "th"]
    assert set(headings) == {"col", "row"}
    assert (
        len(page.tables) == sum(tag == "caption" for tag, _ in page.tags) == sum(tag == "table" for tag, _ in page.tags)
    )
    links = {known["href"].removeprefix("#") for tag, known in page.tags if tag == "a"}
    assert links == {known["id"] for tag, known in page.tags if tag == "section"}


def test_what_others_named_is_no_markup(classified: runs.Done) -> None:
    assert "no <mix-up>" in [row[0][0] for row in _page(classified).tables["Ablation"]]
    assert "<mix-up>" not in (classified.run.folder / HTML).read_text(encoding="utf-8")


def test_colours_are_those_of_the_other_pages() -> None:
    ours = (ROOT / "node/learn/report/templates/report.css").read_text()
    house = (ROOT / "node/web/static/matins.css").read_text().partition("@media")[0]
    colours = re.findall(r"--[\w-]+: #\w+;", ours)
    assert colours
    assert all(each in house for each in colours)


def test_the_print_says_what_the_page_says(classified: runs.Done) -> None:
    content = (classified.run.folder / PDF).read_bytes()
    pages = pdf.pages(content)
    words = " ".join(pages)
    found = classified.evaluation.classification
    assert found is not None
    for name, figure in found.figures.items():
        assert figure.value is not None
        assert f"{figure.value:.3f}" in words, name
    for heading in ("How well it reads", "What it reads worst", "How it was parted", "Ablation", "Grad-CAM", "LIME"):
        assert heading in words
    for number, each in enumerate(pages, 1):
        assert f"page {number}" in each


def test_every_font_of_the_print_is_in_it(classified: runs.Done) -> None:
    content = (classified.run.folder / PDF).read_bytes()
    fonts, objects = pdf.fonts(content), pdf.objects(content)
    assert fonts
    for font in fonts:
        described = re.search(rb"/FontDescriptor (\d+) 0 R", font)
        assert described, font
        assert b"/FontFile2" in objects[int(described[1])]


def test_the_same_run_makes_the_same_report(classified: runs.Done, tmp_path: Path) -> None:
    kept = {name: (classified.run.folder / name).read_bytes() for name in (HTML, PDF)}
    folder = tmp_path / "run"
    shutil.copytree(classified.run.folder, folder)
    looker = Watched(_looker(classified))
    again = write_run_report(replace(classified.run, folder=folder), classified.evaluation, looker)
    assert [file.read_bytes() for file in again] == list(kept.values())
    # Their pictures were there.
    assert looker.looks == 0


def test_the_worst_cases_are_shown_with_what_spoke_for_the_answer(classified: runs.Done) -> None:
    pictures = sorted((classified.run.folder / FOLDER).iterdir())
    assert len(pictures) == 3 * len(classified.evaluation.worst)
    captions = []
    for file in pictures:
        with Image.open(file) as picture:
            assert max(picture.size) <= 256
            captions.append(picture.info["Title"])
    answers = [each.answer for each in classified.evaluation.worst]
    for answer in set(answers):
        assert captions.count(f"Grad-CAM: what spoke for {answer}.") == answers.count(answer)
        assert captions.count(f"LIME: what spoke for {answer}.") == answers.count(answer)


def test_masks_are_shown_with_the_truth_and_the_answer(outlined: runs.Done) -> None:
    alts = [each["alt"] for each in _page(outlined).images]
    for failure in outlined.evaluation.worst:
        assert any("contours" in alt and failure.why in alt for alt in alts)
    seen = _looker(outlined).look(outlined.evaluation.worst[0])
    assert seen is not None
    assert seen.truth is not None
    assert seen.answer is not None
    assert seen.image.shape == seen.truth.shape == seen.answer.shape


def test_a_case_is_not_looked_at_where_the_data_set_is_elsewhere(classified: runs.Done, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(classified.run.folder, folder, ignore=shutil.ignore_patterns(FOLDER))
    write_run_report(replace(classified.run, folder=folder), classified.evaluation)
    assert "the data set is not at hand" in " ".join(Page((folder / HTML).read_text()).words)


def test_nobody_is_named_where_names_may_be_those_of_patients(classified: runs.Done, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(classified.run.folder, folder)
    noted = _noted(classified.evaluation, "2 case(s) were not read, the first is benign/benign (1).png: broken")
    html, printed = write_run_report(replace(classified.run, folder=folder), noted, _looker(classified), private=True)
    words = " ".join(Page(html.read_text()).words), " ".join(pdf.pages(printed.read_bytes()))
    for each in words:
        assert "These are pixels of patients" in each
        for case in classified.dataset.cases:
            assert case.key not in each
            assert case.key.rpartition("/")[2] not in each
    assert "benign (" not in " ".join(alt["alt"] for alt in Page(html.read_text()).images)


def test_a_report_that_cannot_be_written_is_told(classified: runs.Done, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(classified.run.folder, folder)
    (folder / HTML).unlink()
    (folder / HTML).mkdir()
    with pytest.raises(Failed, match="cannot be written"):
        write_run_report(replace(classified.run, folder=folder), classified.evaluation)


def _noted(evaluation: Evaluation, note: str) -> Evaluation:
    return replace(evaluation, notes=(note,))
