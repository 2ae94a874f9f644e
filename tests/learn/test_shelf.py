"""Prepared cases on disk: the same as in memory, told how many, gone when the run has ended."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from node.domain.preparation import Preparation
from node.errors import Failed
from node.learn import shelf
from node.learn.case import Box
from node.learn.preparing import Prepared
from node.learn.recipe import Recipe
from node.learn.shelf import Shelf, clear, needed, shelf_in

RECIPE = Recipe(preparation=Preparation(size=(224, 224)))


class Told:
    """What a shelf asks of a data sheet."""

    digest, cases, labels = "0", 100_000, ()
    channels = {1: 100_000}  # noqa: RUF012
    spacing_mm: tuple[Any, ...] = ()

    def __init__(self, size: tuple[float, ...] = (500, 500), spacing_mm: tuple[float, ...] = ()) -> None:
        self.size = tuple(type("Spread", (), {"median": each})() for each in size)
        self.spacing_mm = tuple(type("Spread", (), {"median": each})() for each in spacing_mm)


def sheet(**more: Any) -> Any:
    return Told(**more)


def test_what_lies_on_the_shelf_is_what_was_put_there(tmp_path: Path) -> None:
    kept = Shelf(folder=tmp_path / "prepared-0")
    assert kept.get(1234) is None
    box = Box(label=1, edges=((0.5, 2.0), (1.0, 3.0)))
    prepared = Prepared(
        image=torch.randn(1, 3, 4, 5),
        labels=torch.ones(3, 4, 5, dtype=torch.uint8),
        spacing_mm=(1.0, 1.0, 2.5),
        boxes=(box,),
    )
    for found in (kept.put(1234, prepared), kept.get(1234)):
        assert found is not None
        assert torch.equal(found.image, prepared.image)
        assert found.labels is not None
        assert prepared.labels is not None
        assert torch.equal(found.labels, prepared.labels)
        assert (found.spacing_mm, found.boxes) == (prepared.spacing_mm, (box,))
    plain = kept.put(0, Prepared(image=torch.zeros(1, 2, 2)))
    assert (plain.labels, plain.boxes) == (None, ())


def test_a_case_that_was_half_written_is_not_there(tmp_path: Path) -> None:
    kept = Shelf(folder=tmp_path)
    kept.put(7, Prepared(image=torch.zeros(1, 2, 2)))
    next(tmp_path.rglob("case.json")).unlink()
    assert kept.get(7) is None


def test_what_is_written_into_an_image_stays_in_memory(tmp_path: Path) -> None:
    found = Shelf(folder=tmp_path).put(0, Prepared(image=torch.zeros(1, 2, 2)))
    found.image.add_(1)
    assert float(found.image.sum()) == 0


def test_how_much_room_cases_take_comes_from_the_sheet() -> None:
    assert needed(RECIPE, sheet()) == 100_000 * 224 * 224 * 4
    volumes = Recipe(preparation=Preparation(spacing_mm=(2.0, 2.0, 2.0), patch=(8, 8, 8)))
    told = sheet(size=(100, 512, 512), spacing_mm=(5.0, 0.8, 0.8))
    assert needed(volumes, told) == pytest.approx(100_000 * 100 * 512 * 512 * 5 * 0.64 / 8 * 4, rel=1e-6)


def test_few_cases_are_held_in_memory_and_many_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shelf_in(tmp_path, RECIPE, sheet(), in_memory=1 << 50) is None
    monkeypatch.setattr(shelf.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 1 << 50))
    first = shelf_in(tmp_path, RECIPE, sheet())
    assert first is not None
    first.put(0, Prepared(image=torch.zeros(1, 2, 2)))
    assert shelf_in(tmp_path, RECIPE, sheet()) == first
    other = shelf_in(tmp_path, dataclasses.replace(RECIPE, preparation=Preparation(size=(200, 200))), sheet())
    assert other is not None
    assert other.folder != first.folder
    assert not first.folder.exists()
    other.put(0, Prepared(image=torch.zeros(1, 2, 2)))
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_is_told_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 1 << 30))
    with pytest.raises(Failed, match=r"the prepared cases take 18.7 GiB, and .* has 1.0 GiB left: free some"):
        shelf_in(tmp_path, RECIPE, sheet())
