"""`node/LEARNING.md` says what is in a report and what is handed to seismometer."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from node.learn.comparison import FILE_NAME as COMPARISON
from node.learn.dataset import layouts
from node.learn.evaluate.evaluation import FILE_NAME as EVALUATION
from node.learn.report import HTML, PDF, watching
from node.learn.report.gallery import FOLDER

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "node/LEARNING.md").read_text(encoding="utf-8")


def test_every_section_of_a_report_is_on_the_page() -> None:
    named = {
        keyword.value.value
        for module in (ROOT / "node/learn/report").glob("*.py")
        for call in ast.walk(ast.parse(module.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Section"
        for keyword in call.keywords
        if keyword.arg == "title" and isinstance(keyword.value, ast.Constant)
    }
    table = PAGE.partition("## The report")[2].partition("How to read it")[0]
    assert named == set(re.findall(r"^\| ([A-Z][^|]+?) \|", table, re.MULTILINE))


def test_every_file_is_on_the_page() -> None:
    for name in (HTML, PDF, EVALUATION, COMPARISON, f"{FOLDER}/"):
        assert f"`{name}`" in PAGE
    handed = PAGE.partition("## seismometer")[2]
    files = {watching.PREDICTIONS, watching.EVENTS, watching.CONFIG, watching.USAGE, watching.DICTIONARY}
    for name in (*files, watching.METADATA, watching.SCRIPT):
        assert f"`{name}`" in handed


def test_every_layout_is_on_the_page_with_what_it_looks_for() -> None:
    section = PAGE.partition("## Data sets that are read")[2].partition("## While it trains")[0]
    told = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", section, re.MULTILINE))
    assert told == {name: layouts.layout(name).DESCRIPTION for name in layouts.names()}
