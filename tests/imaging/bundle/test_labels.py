from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from node.domain.finding import Code, Segment
from node.domain.model_card import ModelCard, VolumeMeasurement
from node.errors import Failed, Misconfigured
from node.imaging.bundle import labels
from node.imaging.bundle.configuration import Configuration
from node.imaging.bundle.labels import Naming, naming, segments
from tests.fakes import BRAIN, card

ORGAN = Code("91723000", "SCT", "Anatomical Structure")
LESION = Code("49755003", "SCT", "Morphologically Abnormal Structure")


def saying(*names: str) -> Configuration:
    outputs = {"pred": {"channel_def": {str(place): name for place, name in enumerate(names)}}}
    return Configuration(folder=Path(), content={}, metadata={"network_data_format": {"outputs": outputs}})


def of(count: int, category: Code = LESION, **parameters: object) -> ModelCard:
    numbered = (Segment(number=n, label=str(n), category=category, type=BRAIN) for n in range(1, count + 1))
    return replace(card(), segments=tuple(numbered), volumes=(), parameters=parameters)


def test_without_a_word_of_the_card_the_segments_are_the_bundle_s_channels_without_its_background():
    assert naming(of(2), saying("background", "a", "b")).values == (1, 2)
    assert naming(of(2), saying("a", "b")).values == (0, 1)
    assert naming(of(1), saying("foreground")).values == (1,)
    assert naming(of(3), saying()).values == (1, 2, 3)


def test_channels_are_in_the_order_of_their_numbers():
    named = [f"n{place}" for place in range(12)]
    assert saying(*named).channels("outputs") == named


@pytest.mark.parametrize(
    ("count", "parameters", "key"),
    [
        (3, {}, "segments"),
        (0, {}, "segments"),
        (2, {"labels": (1.0,)}, "parameters.labels"),
        (2, {"labels": (1.0, 1.0)}, "parameters.labels"),
        (2, {"labels": (1.0, 2.5)}, "parameters.labels"),
        (2, {"labels": (1.0, 300.0)}, "parameters.labels"),
        (2, {"empty": "maybe"}, "parameters.empty"),
    ],
)
def test_segments_that_are_not_the_bundle_s_are_named(count: int, parameters: dict[str, object], key: str):
    with pytest.raises(Misconfigured) as caught:
        naming(of(count, **parameters), saying("background", "a", "b"))
    assert caught.value.key == key


def test_values_become_the_segments_that_the_card_names_and_others_of_the_bundle_are_left_out():
    chosen = naming(of(2, labels=(4.0, 1.0)), saying("background", "a", "b", "c", "d"))
    labels, notes = segments(np.array([[[[0, 1, 2, 3, 4]]]]), chosen)
    assert labels.ravel().tolist() == [0, 2, 0, 0, 1]
    assert labels.dtype == np.uint8
    assert notes == ()


@pytest.mark.parametrize("value", [3.0, -1.0, 256.0, np.nan, np.inf])
def test_a_value_that_nobody_names_fails(value: float):
    with pytest.raises(Failed, match="no label"):
        segments(np.array([[[[0.0, 1.0, value]]]]), naming(of(2), saying("background", "a", "b")))


def test_values_between_labels_are_rounded_and_that_is_said():
    labels, notes = segments(np.array([[[[0.0, 1.2, 1.8, 2.0]]]]), naming(of(2), saying("background", "a", "b")))
    assert labels.ravel().tolist() == [0, 1, 2, 2]
    assert notes == ("the bundle interpolates between labels; 2 voxels were rounded to the next one",)


def test_of_regions_that_overlap_the_one_that_is_declared_last_is_shown_and_that_is_said():
    regions = np.array([[[[1, 1, 0, 0]]], [[[1, 1, 1, 0]]]])
    inner_last = naming(of(2, labels=(1.0, 0.0)), saying("core", "whole"))
    labels, notes = segments(regions, inner_last)
    assert labels.ravel().tolist() == [2, 2, 1, 0]
    assert notes == ("2 voxels lie in several regions; the one that the card declares last is shown",)


def test_one_hot_channels_are_read_with_or_without_the_background():
    one_hot = np.array([[[[1, 0, 0]]], [[[0, 1, 0]]], [[[0, 0, 1]]]])
    named = naming(of(2), saying("background", "a", "b"))
    for channels in (one_hot, one_hot[1:]):
        assert segments(channels, named)[0].ravel().tolist() == [0, 1, 2]
    with pytest.raises(Failed, match="between 0 and 1"):
        segments(one_hot * 0.5, named)
    with pytest.raises(Failed, match="2 channels"):
        segments(one_hot[1:], replace(named, values=(1, 7)))


def test_an_empty_mask_is_a_negative_for_a_lesion_and_a_failure_for_an_organ():
    nothing = np.zeros((1, 2, 2, 2))
    assert not segments(nothing, naming(of(1), saying("background", "a")))[0].any()
    with pytest.raises(Failed, match="finds none"):
        segments(nothing, naming(of(1, ORGAN), saying("background", "a")))
    with pytest.raises(Failed, match="finds none"):
        segments(nothing, naming(of(1, empty="failed"), saying("background", "a")))
    # A lesion is not denied in an organ that was not found either.
    both = replace(of(2), segments=(of(1, ORGAN).segments[0], of(2).segments[1]))
    with pytest.raises(Failed, match="finds none"):
        segments(nothing, naming(both, saying("background", "liver", "tumour")))
    assert not segments(nothing, naming(of(1, ORGAN, empty="negative"), saying("background", "a")))[0].any()
    least = replace(of(1), volumes=(VolumeMeasurement(segment_number=1, plausible_ml=(10.0, 900.0)),))
    with pytest.raises(Failed, match="finds none"):
        segments(nothing, naming(least, saying("background", "a")))


def test_a_full_mask_is_always_a_failure():
    with pytest.raises(Failed, match="every voxel"):
        segments(np.ones((1, 2, 2, 2)), Naming(values=(1,)))


def test_the_channel_that_is_explained_is_the_one_of_the_segment_s_name_whatever_value_the_mask_has() -> None:
    names = ("Tumor core", "Whole tumor", "Enhancing tumor")
    told = Naming(values=(1, 2, 4), names=names, background=False)
    regions = [
        Segment(number=n, label=name, category=LESION, type=BRAIN)
        for n, name in enumerate(("tumor core", "Whole tumor", "Enhancing tumor"), 1)
    ]
    assert labels.channels(replace(card(), segments=tuple(regions)), told) == {1: 0, 2: 1, 3: 2}
    others = tuple(replace(each, label=f"mine {each.number}") for each in regions)
    assert labels.channels(replace(card(), segments=others), told) == {1: 1, 2: 2, 3: 4}
    assert labels.channels(card(), Naming(values=(1,), names=("background", "spleen"))) == {1: 1}
