"""Ways to make a model, beside one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.errors import Misconfigured
from node.learn.comparison import FILE_NAME, Comparison, Row, put_comparison, read_comparisons
from node.learn.evaluate.figures import Figure


def _ablation(auc: float) -> Comparison:
    whole = Row(name="as it is", figures={"auc": Figure(value=0.9, low=0.8, high=0.95)}, is_chosen=True)
    without = Row(name="without mix-up", changes={"augmentation.mix": "0"}, figures={"auc": Figure(value=auc)})
    return Comparison(title="Ablation", text="Judged on validation.", rows=(whole, without))


def test_comparisons_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    assert read_comparisons(file) == ()
    put_comparison(file, _ablation(0.85))
    put_comparison(file, Comparison(title="Two stages"))
    assert read_comparisons(file) == (_ablation(0.85), Comparison(title="Two stages"))


def test_a_comparison_takes_the_place_of_the_one_with_its_title(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    put_comparison(file, _ablation(0.85))
    put_comparison(file, _ablation(0.87))
    assert read_comparisons(file) == (_ablation(0.87),)


def test_a_damaged_comparison_is_told_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.write_text('[{"title": 1}]')
    with pytest.raises(Misconfigured, match=FILE_NAME):
        read_comparisons(file)
