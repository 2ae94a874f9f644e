"""Which series meet what a site requires, and which look whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.config.clauses import ClauseReader
from node.domain.required import SERIES_FIELDS, RequiredSeries
from node.domain.study import Pixels, Plane, Series
from node.triage.required import meets, met_by, why_not_whole
from tests.fakes import SR, slice_of


def required(when: dict[str, object]) -> RequiredSeries:
    return RequiredSeries(name="it", when=ClauseReader("config.toml", SERIES_FIELDS).read(when))


def compare(field: str, op: str, value: object) -> dict[str, object]:
    return {"field": field, "op": op, "value": value}


def series(numbers: range = range(1, 9), uid: str = "1.2.3.1.1", **changes: object) -> Series:
    instances = tuple(slice_of(number, series=uid, **changes) for number in numbers)  # type: ignore[arg-type]
    return Series(series_instance_uid=uid, instances=instances)


T1 = compare("series_description", "has", "t1")


@pytest.mark.parametrize(
    ("when", "is_met"),
    [
        (T1, True),
        (compare("series_description", "has_any", ["flair", "t1"]), True),
        (compare("series_description", "matches", "^t[12]$"), True),
        (compare("series_description", "has", "flair"), False),
        (compare("modality", "is", "mr"), True),
        (compare("image_type", "is", "PRIMARY"), True),
        (compare("image_type", "one_of", ["DERIVED"]), False),
        (compare("slice_count", ">=", 8), True),
        (compare("slice_count", ">=", 9), False),
        (compare("instance_count", "<", 9), True),
        (compare("slice_spacing_mm", "<=", 2), True),
        (compare("pixels.rows", "is", 16), True),
        ({"all": [T1, compare("slice_count", ">=", 8)]}, True),
        ({"all": [T1, compare("slice_count", ">", 8)]}, False),
        ({"any": [compare("modality", "is", "CT"), T1]}, True),
        ({"not": compare("modality", "is", "CT")}, True),
        (compare("body_part_examined", "is", "HEAD"), False),
        ({"not": compare("body_part_examined", "is", "HEAD")}, False),
        (compare("body_part_examined", "known", False), True),
    ],
)
def test_a_series_meets_a_clause(when: dict[str, object], is_met: bool) -> None:
    assert meets(required(when), series()) is is_met


def test_every_part_of_a_clause_is_met_by_the_same_series() -> None:
    short = series(range(1, 3), "1.2.8")
    other = series(range(1, 9), "1.2.9", series_description="localizer")
    both = {"all": [T1, compare("slice_count", ">=", 8)]}
    assert met_by(required(both), [short, other]) == ()
    assert met_by(required(both), [short, other, series()]) == ("1.2.3.1.1",)
    assert met_by(required(T1), [series(), short]) == ("1.2.3.1.1", "1.2.8")


def test_a_regular_series_looks_whole_in_whatever_order_it_came() -> None:
    whole = series()
    assert why_not_whole(whole) == ""
    assert why_not_whole(replace(whole, instances=whole.instances[::-1])) == ""


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (series(range(1, 2)), "1 of 1 instances are slices"),
        (replace(series(), instances=(*series().instances[:3], *series().instances[4:])), "1 missing"),
        (replace(series(), instances=series().instances[::2]), "but 4 instances"),
        (replace(series(), instances=(*series().instances, slice_of(9, sop_class_uid=SR))), "8 of 9"),
        (series(plane=None), "do not say where they lie"),
        (series(pixels=Pixels(rows=16, columns=16, number_of_frames=9)), "multi-frame"),
        (
            replace(
                series(),
                instances=(
                    *series().instances,
                    slice_of(9, plane=Plane(position=(0, 0, 30), orientation=(1, 0, 0, 0, 1, 0), spacing=(1, 1))),
                ),
            ),
            "missing",
        ),
    ],
)
def test_a_series_with_gaps_or_without_a_grid_does_not_look_whole(broken: Series, said: str) -> None:
    assert said in why_not_whole(broken)
