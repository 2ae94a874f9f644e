from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from node.catalogue.cards import CARD, read_card
from node.domain.measures import (
    ATTENUATION,
    BETWEEN_CENTROIDS,
    BETWEEN_SURFACES,
    DISTANCE,
    HOUNSFIELD,
    LESION_COUNT,
    MEAN,
    MR_SIGNAL,
    STANDARD_DEVIATION,
    TERMS,
    Lesions,
    Quantity,
    Repeatability,
)
from node.domain.uid import is_valid_uid
from node.errors import Failed, Misconfigured
from node.imaging.measure import measured
from node.imaging.volume import Volume
from tests.imaging.measure.bodies import LUNG, NODULE, asking, grid, of, turned
from tests.test_catalogue import CARD as WRITTEN

SHAPE = (12, 20, 30)
STEPS = turned(np.random.default_rng(1)) * np.array((2.0, 0.5, 1.0))


def volume() -> Volume:
    """Every voxel bears the number of its column."""
    array = np.broadcast_to(np.arange(SHAPE[2], dtype=np.int16), SHAPE).copy()
    return Volume(array, grid(SHAPE, STEPS), tuple(f"1.2.{number}" for number in range(SHAPE[0])))


def labels(*boxes: tuple[int, tuple[int, int], tuple[int, int], tuple[int, int]]) -> np.ndarray:
    """Boxes of labels, from and to along each axis."""
    made = np.zeros(SHAPE, np.uint8)
    for number, *edges in boxes:
        made[tuple(slice(first, stop) for first, stop in edges)] = number
    return made


def test_every_quantity_is_a_term_that_the_dictionaries_know() -> None:
    from pydicom.sr._concepts_dict import concepts

    written = [each for term in TERMS.values() for each in (term.code, term.derivation) if each is not None]
    for code in [*written, MR_SIGNAL]:
        meanings = {entry[code.value][0] for entry in concepts[code.scheme].values() if code.value in entry}
        assert any(meaning.startswith(code.meaning) for meaning in meanings), code
    units = {unit for entry in concepts["UCUM"].values() for unit in entry}
    assert {term.unit.value for term in TERMS.values()} - {"mL"} <= units  # UCUM knows "ml" in either way


def test_mean_and_spread_are_in_hounsfield_units_in_ct_and_in_none_in_mr() -> None:
    card = asking(of(Quantity.MEAN), of(Quantity.STANDARD_DEVIATION))
    mask = labels((1, (2, 4), (3, 6), (10, 14)))
    (found,) = measured(card, mask, volume().grid, volume(), modality="CT").findings
    mean, spread = found.measurements
    assert (mean.quantity, mean.derivation, mean.unit, mean.value) == (ATTENUATION, MEAN, HOUNSFIELD, 11.5)
    assert (spread.derivation, spread.value) == (STANDARD_DEVIATION, pytest.approx(np.std([10, 11, 12, 13])))
    (found,) = measured(card, mask, volume().grid, volume(), modality="MR").findings
    assert {(each.quantity, each.unit.value) for each in found.measurements} == {(MR_SIGNAL, "1")}


@pytest.mark.parametrize(
    ("given", "modality", "why"), [(True, "PT", "in PT they have no unit"), (False, "CT", "not at hand")]
)
def test_intensities_without_a_unit_or_a_volume_are_left_out_and_that_is_said(
    given: bool, modality: str, why: str
) -> None:
    result = measured(
        asking(of(Quantity.MEAN)),
        labels((1, (2, 4), (3, 6), (10, 14))),
        volume().grid,
        volume() if given else None,
        modality=modality,
    )
    assert result.findings[0].measurements == ()
    assert [why in note for note in result.notes] == [True]


@pytest.mark.parametrize(
    ("box", "is_cut"),
    [
        (((2, 4), (3, 6), (10, 14)), False),
        (((0, 4), (3, 6), (10, 14)), True),
        (((2, 4), (3, 6), (10, SHAPE[2])), True),
    ],
)
def test_what_reaches_the_edge_of_the_images_may_be_larger_than_measured_and_that_is_said(
    box: tuple[tuple[int, int], ...], is_cut: bool
) -> None:
    result = measured(asking(of(Quantity.VOLUME)), labels((1, *box)), volume().grid, volume(), modality="CT")
    assert [note.startswith("Reaching the edge") for note in result.notes] == [True] * is_cut


def lesion_card(least_ml: float = 0.0, most: int = 20) -> object:
    return asking(
        of(Quantity.LESION_COUNT, 2),
        of(Quantity.VOLUME, 2, per_lesion=True, repeatability=Repeatability(percent=10.0)),
        lesions=(Lesions(segment_number=2, least_ml=least_ml, most=most),),
    )


LESIONS = labels(
    (2, (1, 3), (1, 3), (1, 3)),
    (2, (3, 4), (3, 4), (3, 4)),  # shares but a corner with the first
    (2, (8, 9), (10, 14), (20, 24)),
    (2, (5, 6), (18, 19), (5, 6)),
)


def test_lesions_are_what_hangs_together_by_faces_edges_or_corners() -> None:
    found = measured(lesion_card(), LESIONS, volume().grid, volume()).findings  # type: ignore[arg-type]
    assert found[0].measurements[0].quantity == LESION_COUNT
    assert found[0].measurements[0].value == 3
    assert [each.lesion_number for each in found] == [0, 1, 2, 3]
    assert [each.measurements[0].value for each in found[1:]] == pytest.approx([0.016, 0.009, 0.001])
    assert [each.measurements[0].repeats_within for each in found[1:]] == pytest.approx([0.0016, 0.0009, 0.0001])
    assert [each.key_images for each in found[1:]] == [("1.2.8",), ("1.2.1",), ("1.2.5",)]
    assert {each.present for each in found} == {True}


def test_small_lesions_are_neither_counted_nor_reported_and_many_are_counted_but_not_all_reported() -> None:
    found = measured(lesion_card(least_ml=0.009), LESIONS, volume().grid, volume()).findings  # type: ignore[arg-type]
    assert (found[0].measurements[0].value, len(found)) == (2, 3)
    found = measured(lesion_card(most=1), LESIONS, volume().grid, volume()).findings  # type: ignore[arg-type]
    assert (found[0].measurements[0].value, len(found)) == (3, 2)


def test_a_lesion_keeps_its_tracking_uid_and_shares_it_with_no_other() -> None:
    first, again = (measured(lesion_card(), LESIONS, volume().grid, volume()).findings[1:] for _ in range(2))  # type: ignore[arg-type]
    uids = [each.tracking_uid for each in first]
    assert uids == [each.tracking_uid for each in again]
    assert len(set(uids)) == 3
    assert all(map(is_valid_uid, uids))
    other = LESIONS.copy()
    other[8] = 0
    fewer = measured(lesion_card(), other, volume().grid, volume()).findings[1:]  # type: ignore[arg-type]
    assert [each.tracking_uid for each in fewer] == uids[1:]


@pytest.mark.parametrize("mask", [labels(), labels((2, (1, 2), (1, 2), (1, 2)))])
def test_no_lesion_large_enough_is_a_finding_that_is_absent(mask: np.ndarray) -> None:
    (found,) = measured(lesion_card(least_ml=0.5), mask, volume().grid, volume()).findings  # type: ignore[arg-type]
    assert (found.code, found.present, found.measurements[-1].value) == (NODULE, False, 0)


def test_the_distance_of_two_segments_goes_from_face_to_face_and_between_centroids() -> None:
    card = asking(of(Quantity.DISTANCE, 2, to_segment=1), of(Quantity.CENTROID_DISTANCE, 2, to_segment=1))
    mask = labels((1, (0, 4), (0, 20), (0, 10)), (2, (6, 8), (5, 9), (14, 18)))
    _, found = measured(card, mask, volume().grid).findings
    surfaces, centroids = found.measurements
    assert (surfaces.quantity, surfaces.method, surfaces.toward) == (DISTANCE, BETWEEN_SURFACES, LUNG)
    assert surfaces.value == pytest.approx(np.hypot(2 * 2.0, 4 * 1.0))
    assert centroids.method == BETWEEN_CENTROIDS
    assert centroids.value == pytest.approx(np.linalg.norm([5 * 2.0, (6.5 - 9.5) * 0.5, 11 * 1.0]))


def test_segments_that_touch_lie_nothing_apart() -> None:
    card = asking(of(Quantity.DISTANCE, 2, to_segment=1))
    mask = labels((1, (0, 4), (0, 20), (0, 10)), (2, (3, 8), (5, 9), (10, 18)))
    assert measured(card, mask, volume().grid).findings[1].measurements[0].value == 0


def test_a_distance_to_what_is_not_there_is_left_out_and_that_is_said() -> None:
    result = measured(
        asking(of(Quantity.DISTANCE, 2, to_segment=1)), labels((2, (1, 2), (1, 2), (1, 2))), volume().grid
    )
    assert result.findings[0].measurements == ()
    assert result.notes == ("The distance of Nodule to Lung was not measured: there is no Lung.",)


def test_a_value_that_no_person_has_fails_with_the_range() -> None:
    card = asking(of(Quantity.LONG_AXIS, plausible=(30.0, 300.0)))
    with pytest.raises(Failed, match=r"Lung long axis of 3\.\d+ mm is not plausible \(30 to 300 mm\)"):
        measured(card, labels((1, (2, 4), (3, 6), (10, 14))), volume().grid)


def test_a_volume_with_a_least_value_may_not_be_absent() -> None:
    card = asking(of(Quantity.VOLUME, plausible=(30.0, 300.0)))
    with pytest.raises(Failed, match=r"Lung volume of 0 mL is not plausible"):
        measured(card, labels((2, (2, 4), (3, 6), (10, 14))), volume().grid)


GOOD = """
[[measures]]
quantity = "long_axis"
segment_number = 1
per_lesion = true
plausible = [1.0, 400.0]
repeatability = { absolute = 1.5 }

[[measures]]
quantity = "lesion_count"
segment_number = 1

[[lesions]]
segment_number = 1
least_ml = 0.1

[[sides]]
segment_number = 1
midline = "body"
body_above = -300.0
"""


def read(folder, more: str):
    (folder / "liver").mkdir()
    (folder / "liver" / CARD).write_text(WRITTEN + more)
    return read_card(folder / "liver")


def test_a_card_asks_for_measures_lesions_and_sides(tmp_path) -> None:
    card = read(tmp_path, GOOD)
    assert card.measures[0] == of(
        Quantity.LONG_AXIS, per_lesion=True, plausible=(1.0, 400.0), repeatability=Repeatability(absolute=1.5)
    )
    assert card.lesions == (Lesions(segment_number=1, least_ml=0.1),)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("segment_number = 1\nper_lesion", "segment_number = 7\nper_lesion"), "measures[0].segment_number"),
        (('"long_axis"', '"girth"'), "measures[0].quantity"),
        (('"long_axis"', '"distance"'), "measures[0].to_segment"),
        (("per_lesion = true", "to_segment = 1"), "measures[0].to_segment"),
        (("[1.0, 400.0]", "[400.0, 1.0]"), "measures[0].plausible"),
        (("absolute = 1.5", "absolute = 0.0"), "measures[0].repeatability"),
        (("absolute = 1.5", "absolute = 1.5, percent = 2.0"), "measures[0].repeatability"),
        (('"lesion_count"', '"volume"'), "measures[1]"),
        (("least_ml = 0.1", "least_ml = -1.0"), "lesions[0].least_ml"),
        (("least_ml = 0.1", "most = 0"), "lesions[0].most"),
        (("[[lesions]]\nsegment_number = 1", "[[lesions]]\nsegment_number = 3"), "lesions[0].segment_number"),
        (('"body"\n', '"pair"\n'), "sides[0].of_segment"),
        (("body_above = -300.0", ""), "sides[0].body_above"),
    ],
)
def test_a_table_that_cannot_be_followed_is_refused_with_its_key(change: tuple[str, str], key: str, tmp_path) -> None:
    assert change[0] in GOOD
    with pytest.raises(Misconfigured) as refused:
        read(tmp_path, GOOD.replace(*change, 1))
    assert refused.value.key == key


RETEST = """
[[measures]]
quantity = "volume"
segment_number = 1
per_lesion = true

[[lesions]]
segment_number = 1

[[repeatability]]
quantity = "volume"
segment_number = 1
per_lesion = true
percent = 25.0
source = "retest.csv"
subjects = 31
"""


def test_a_card_says_how_well_its_model_repeats_and_every_number_bears_it(tmp_path) -> None:
    card = read(tmp_path, RETEST)
    assert card.repeats(Quantity.VOLUME, 1, per_lesion=True) == Repeatability(percent=25.0)
    assert card.repeats(Quantity.VOLUME, 1, per_lesion=False) is None
    marked = labels((1, (2, 4), (3, 6), (10, 14)))
    found = [each for each in measured(replace(card, volumes=()), marked, volume().grid).findings if each.lesion_number]
    assert [each.repeats_within for each in found[0].measurements] == [0.25 * found[0].measurements[0].value]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("percent = 25.0", "percent = 0.0"), "repeatability[0]"),
        (("percent = 25.0", "percent = 25.0\nabsolute = 1.0"), "repeatability[0]"),
        (("percent = 25.0\n", ""), "repeatability[0]"),
        (('"retest.csv"', '" "'), "repeatability[0].source"),
        (("subjects = 31", "subjects = 9"), "repeatability[0].subjects"),
        (('[[repeatability]]\nquantity = "volume"', '[[repeatability]]\nquantity = "diameter"'), "repeatability[0]"),
        (
            ("segment_number = 1\nper_lesion = true\npercent", "segment_number = 7\npercent"),
            "repeatability[0].segment_number",
        ),
        (("per_lesion = true\n\n", "per_lesion = true\nrepeatability = { percent = 1.0 }\n\n"), "repeatability[0]"),
    ],
)
def test_a_figure_that_nobody_can_have_measured_is_refused(change: tuple[str, str], key: str, tmp_path) -> None:
    assert change[0] in RETEST
    with pytest.raises(Misconfigured) as refused:
        read(tmp_path, RETEST.replace(*change, 1))
    assert refused.value.key == key
