"""The page on the card names everything that a card may say."""

from __future__ import annotations

import pkgutil

import pytest

from node.domain.filters import Kind
from node.domain.gate import Figure
from node.domain.measures import Quantity
from node.domain.model_card import Colour, Intensity, ModelCard, Scope, Task
from node.domain.preparation import Crop, Preparation
from node.imaging import pipelines
from node.imaging.explain import methods
from tests.conftest import ROOT

PAGE = (ROOT / "models" / "CARD.md").read_text(encoding="utf-8")
#: What `matins models add` writes for every model, and what models/README.md shows.
ELSEWHERE = {
    *("name", "version", "title", "purpose", "intended_use", "content_qualification", "licence", "citation"),
    *("manufacturer", "udi", "parameters", "preparation", "architecture", "procedure", "detection"),
}


@pytest.mark.parametrize("key", sorted(ModelCard.__dataclass_fields__.keys() - ELSEWHERE))
def test_every_key_of_a_card_is_on_the_page(key: str) -> None:
    assert any(form in PAGE for form in (f"`{key}`", f"`[[{key}]]`", f"`[{key}]`"))


def test_every_key_of_the_preparation_is_on_the_page() -> None:
    assert [key for key in Preparation.__dataclass_fields__ if f"`{key}`" not in PAGE] == []


@pytest.mark.parametrize("kind", [Task, Scope, Intensity, Colour, Figure, Quantity, Kind, Crop])
def test_every_value_that_a_card_may_choose_is_on_the_page(kind) -> None:
    missing = [value for value in kind if f"`{value}`" not in PAGE and value != Quantity.LESION_COUNT]
    assert missing == []


def test_every_pipeline_and_every_method_of_explanation_is_on_the_page() -> None:
    named = [*pipelines.names(), *(each.name.replace("_", "-") for each in pkgutil.iter_modules(methods.__path__))]
    assert [name for name in named if f"`{name}`" not in PAGE] == []
